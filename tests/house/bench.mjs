// bench.mjs OUT-FOLDER KEPT.json: gathers what the benches printed, beside the figures kept from an earlier run.
//
// A bench prints one or more JSON objects, each beginning at the start of a line, on one line or several; its other lines are for
// people. Every number in an object is a figure, named by its path: {"bench": "codec", "mix": {"encode_packets_s": 1e7}} gives
// codec mix.encode_packets_s. "name", "shape", "mode" and the counts in `parameters` label the object they are in; the name's
// ending gives the unit and which way is better. Written: OUT-FOLDER/<bench>.json for each bench, and OUT-FOLDER/all.json: the machine, and each
// figure with the kept one, the change in per cent and a word if it is better or worse by a tenth or more. A bench that printed no figure is
// a failure; figures that are kept and were not measured by a bench that ran are named.
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

const [folder, keptPath] = process.argv.slice(2);

function textOf(path) {
    try {
        return readFileSync(path, 'utf8').trim();
    } catch {
        return '';
    }
}

// "L1d 32K, L2 1024K, ...": of the first processor, as Linux says it.
function caches() {
    const folder = '/sys/devices/system/cpu/cpu0/cache';
    if (!existsSync(folder)) return 'unknown';
    return readdirSync(folder).filter((name) => name.startsWith('index')).sort().map((index) => {
        const type = textOf(join(folder, index, 'type'));
        return `L${textOf(join(folder, index, 'level'))}${{ Data: 'd', Instruction: 'i' }[type] ?? ''} ${textOf(join(folder, index, 'size'))}`;
    }).join(', ');
}

const machine = {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    caches: caches(),
    memory_bytes: totalmem(),
    huge_pages: /\[(\w+)\]/.exec(textOf('/sys/kernel/mm/transparent_hugepage/enabled'))?.[1] ?? 'unknown',
    architecture: arch(),
    kernel: release(),
    system: /^PRETTY_NAME="?([^"\n]*)/m.exec(textOf('/etc/os-release'))?.[1] ?? 'unknown',
    compiler: process.env.CC_VERSION ?? 'unknown',
    commit: process.env.BENCH_COMMIT ?? 'unknown',
    node: process.version,
    load: Number(loadavg()[0].toFixed(2)), // of the last minute, when the benches were over
};

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

// How a figure stands to the kept one: { kept, change_percent, verdict }.
function against(figure, kept) {
    if (!kept) return {};
    if (!kept.value) return { kept: kept.value };
    const change = Number(((100 * (figure.value - kept.value)) / Math.abs(kept.value)).toFixed(1));
    const told = { kept: kept.value, change_percent: change };
    if (figure.better && Math.abs(change) >= 10) told.verdict = (change > 0) === (figure.better === 'higher') ? 'better' : 'worse';
    return told;
}

function changeText(figure) {
    if (figure.change_percent === undefined) return '';
    const word = { better: ' better', worse: ' WORSE' }[figure.verdict] ?? '';
    return `${figure.change_percent >= 0 ? '+' : ''}${figure.change_percent.toFixed(1)} %${word}`;
}

const kept = existsSync(keptPath) ? JSON.parse(readFileSync(keptPath, 'utf8')) : null;
const keptByName = new Map((kept?.figures ?? []).map((figure) => [`${figure.bench} ${figure.name}`, figure]));
// Figures of another machine are shown, but are no measure.
const sameMachine = kept !== null && ['processor', 'cores', 'memory_bytes'].every((key) => kept.machine?.[key] === machine[key]);

const all = [];
let empty = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith('.out')).sort()) {
    const bench = file.slice(0, -'.out'.length);
    const figures = figuresOf(readFileSync(join(folder, file), 'utf8'))
        .map((figure) => ({ ...figure, ...against(figure, keptByName.get(`${bench} ${figure.name}`)) }));
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
const benches = new Set(all.map((figure) => figure.bench));
const measured = new Set(all.map((figure) => `${figure.bench} ${figure.name}`));
const missing = [...keptByName.keys()].filter((name) => benches.has(name.split(' ')[0]) && !measured.has(name));
const comparison = kept ? { machine: kept.machine, same_machine: sameMachine, not_measured: missing } : null;
writeFileSync(join(folder, 'all.json'), JSON.stringify({ machine, compared_with: comparison, figures: all }, null, 2) + '\n');

const rows = all.map((figure) => [figure.bench, figure.name, readable(figure.value),
    figure.kept === undefined ? '' : readable(figure.kept), changeText(figure)]);
rows.unshift(['bench', 'figure', 'now', kept ? 'kept' : '', '']);
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
console.log(`${machine.processor}, ${machine.cores} cores (${machine.caches}), ${(machine.memory_bytes / 2 ** 30).toFixed(0)} GiB, ` +
    `${machine.system}, Linux ${machine.kernel}, ${machine.compiler}`);
for (const row of rows) {
    console.log(row.map((cell, column) => (column === 2 || column === 3 ? cell.padStart(widths[column])
        : cell.padEnd(widths[column]))).join('  ').trimEnd());
}
for (const name of missing) console.log(`kept, but not measured now: ${name}`);
if (kept && !sameMachine) {
    console.log(`kept on another machine (${kept.machine?.processor ?? 'unknown'}, ${kept.machine?.cores ?? '?'} cores): ` +
        'its figures are no measure for this one');
}
console.log(`all figures: ${join(folder, 'all.json')}`);
process.exit(empty > 0 ? 1 : 0);
