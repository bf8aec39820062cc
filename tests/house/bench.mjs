// bench.mjs OUT-FOLDER KEPT.json: gathers what the benches printed, beside the figures kept from an earlier run.
//
// A bench prints one or more JSON objects, each beginning at the start of a line, on one line or several; its other lines are for
// people. Every number in an object is a figure, named by its path: {"bench": "codec", "mix": {"encode_packets_s": 1e7}} gives
// codec mix.encode_packets_s. "name", "shape", "mode" and the counts in `parameters` label the object they are in; the name's
// ending gives the unit and which way is better. Written: OUT-FOLDER/<bench>.json for each bench, and OUT-FOLDER/all.json.
// A bench that printed no figure is a failure.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';

const [folder, keptPath] = process.argv.slice(2);

const machine = {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory_bytes: totalmem(),
    kernel: release(),
    compiler: process.env.CC_VERSION ?? 'unknown',
    node: process.version,
};

// Rows of an array are told apart by the texts in them ("name", "case", ...), or else by their position.
function flatten(value, path, figures) {
    if (typeof value === 'number' && Number.isFinite(value)) figures.push({ name: path, value });
    if (value === null || typeof value !== 'object') return;
    for (const [key, inner] of Object.entries(value)) {
        const words = Array.isArray(value) && inner && typeof inner === 'object'
            ? Object.values(inner).filter((word) => typeof word === 'string').join(' ') : '';
        flatten(inner, [path, words || key].filter(Boolean).join('.'), figures);
    }
}

function documentOf(text) {
    const start = text.search(/^[{[]/m);
    try {
        return start < 0 ? null : JSON.parse(text.slice(start));
    } catch {
        return null;
    }
}

const labels = ['name', 'shape', 'mode', 'world', 'kind'];
const parameters = ['pending', 'sessions', 'connections', 'vehicles', 'partitions', 'processes'];

// The JSON objects in a text: from a line that begins with { to the first end at which it parses.
function objectsOf(text) {
    const objects = [];
    const lines = text.split('\n');
    for (let first = 0; first < lines.length; first++) {
        if (!lines[first].startsWith('{')) continue;
        for (let last = first; last < lines.length; last++) {
            if (!lines[last].trimEnd().endsWith('}')) continue;
            try {
                objects.push(JSON.parse(lines.slice(first, last + 1).join('\n')));
                first = last;
                break;
            } catch {
                continue;
            }
        }
    }
    return objects;
}

function betterOf(name) {
    if (/(^|[._])(per_s|ratio|speedup)([._]|$)|_(packets|bytes|events|messages)_s$|_per_s$/.test(name)) return 'higher';
    if (/_(ns|us|ms)$|(^|[._])(bytes|memory_bytes)(_per_\w+)?$|_bytes_per_\w+$|cpu/.test(name)) return 'lower';
    return undefined;
}

function collect(value, path, figures) {
    if (typeof value === 'number' && Number.isFinite(value)) {
        const name = path.join('.');
        figures.push({ name, value, better: betterOf(name) });
    } else if (Array.isArray(value)) {
        value.forEach((item, index) => collect(item, isLabelled(item) ? path : [...path, String(index)], figures));
    } else if (value !== null && typeof value === 'object') {
        const label = [...labels, ...parameters].filter((key) => ['string', 'number'].includes(typeof value[key]))
            .map((key) => (labels.includes(key) ? value[key] : `${key} ${value[key]}`)).join(', ');
        const here = label ? [...path, `[${label}]`] : path;
        for (const [key, item] of Object.entries(value)) {
            if (!labels.includes(key) && !parameters.includes(key)) collect(item, [...here, key], figures);
        }
    }
}

function isLabelled(item) {
    return item !== null && typeof item === 'object' && labels.some((key) => typeof item[key] === 'string');
}

function figuresOf(text) {
    const figures = [];
    for (const object of objectsOf(text)) {
        if (typeof object.name === 'string' && typeof object.value === 'number') figures.push(object);
        else collect(object, [], figures);
    }
    return figures;
}

function readable(value) {
    if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e12)) return value.toExponential(3);
    return value.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}

// How a figure stands to the kept one.
function against(figure, kept) {
    if (!kept || !kept.value) return '';
    const change = (100 * (figure.value - kept.value)) / Math.abs(kept.value);
    let word = '';
    if (figure.better && Math.abs(change) >= 10) word = (change > 0) === (figure.better === 'higher') ? ' better' : ' WORSE';
    return `${change >= 0 ? '+' : ''}${change.toFixed(1)} %${word}`;
}

const all = [];
let empty = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith('.out')).sort()) {
    const bench = file.slice(0, -'.out'.length);
    const figures = figuresOf(readFileSync(join(folder, file), 'utf8'));
    if (figures.length === 0) {
        console.error(`bench: ${bench} printed no figure (see ${join(folder, file)})`);
        empty++;
        continue;
    }
    writeFileSync(join(folder, `${bench}.json`), JSON.stringify({ bench, machine, figures }, null, 2) + '\n');
    for (const figure of figures) all.push({ bench, ...figure });
}
if (all.length === 0) {
    console.error('bench: no figure at all');
    process.exit(1);
}
writeFileSync(join(folder, 'all.json'), JSON.stringify({ machine, figures: all }, null, 2) + '\n');

const kept = existsSync(keptPath) ? JSON.parse(readFileSync(keptPath, 'utf8')) : null;
const keptByName = new Map((kept?.figures ?? []).map((figure) => [`${figure.bench} ${figure.name}`, figure]));
const rows = all.map((figure) => {
    const before = keptByName.get(`${figure.bench} ${figure.name}`);
    return [figure.bench, figure.name, readable(figure.value), before ? readable(before.value) : '',
        against(figure, before)];
});
rows.unshift(['bench', 'figure', 'now', kept ? 'kept' : '', '']);
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
console.log(`${machine.processor}, ${machine.cores} cores, ${(machine.memory_bytes / 2 ** 30).toFixed(0)} GiB, ` +
    `Linux ${machine.kernel}, ${machine.compiler}`);
for (const row of rows) {
    console.log(row.map((cell, column) => (column === 2 || column === 3 ? cell.padStart(widths[column])
        : cell.padEnd(widths[column]))).join('  ').trimEnd());
}
if (kept && kept.machine?.processor !== machine.processor) {
    console.log(`kept on another machine (${kept.machine?.processor ?? 'unknown'}): its figures are no measure for this one`);
}
console.log(`all figures: ${join(folder, 'all.json')}`);
process.exit(empty > 0 ? 1 : 0);
