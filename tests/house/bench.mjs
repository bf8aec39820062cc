// bench.mjs OUT-FOLDER KEPT.json: gathers what the benches printed, beside the figures kept from an earlier run.
//
// A bench prints each figure as one line of JSON: {"name": "codec.encode", "value": 1.2e6, "unit": "packets/s", "better": "higher"}
// ("better" may be left out), or one JSON document, of which every number is a figure named by its path; its other lines are for people and stay in OUT-FOLDER/<bench>.out. Written: OUT-FOLDER/<bench>.json
// for each bench and OUT-FOLDER/all.json. A bench that printed no figure is a failure.
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

function figuresOf(text) {
    const figures = [];
    const whole = documentOf(text);
    if (whole && !('value' in whole && 'name' in whole)) {
        flatten(whole, '', figures);
        return figures;
    }
    for (const line of text.split('\n')) {
        if (!line.startsWith('{')) continue;
        let figure;
        try {
            figure = JSON.parse(line);
        } catch {
            continue;
        }
        if (typeof figure.name === 'string' && Number.isFinite(figure.value)) figures.push(figure);
    }
    return figures;
}

function readable(value) {
    if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e12)) return value.toExponential(3);
    return value.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}

// How a figure stands to the kept one: only figures of the same unit are compared.
function against(figure, kept) {
    if (!kept || kept.unit !== figure.unit || !kept.value) return '';
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
    return [figure.bench, figure.name, readable(figure.value), figure.unit ?? '', before ? readable(before.value) : '',
        against(figure, before)];
});
rows.unshift(['bench', 'figure', 'now', 'unit', kept ? 'kept' : '', '']);
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
console.log(`${machine.processor}, ${machine.cores} cores, ${(machine.memory_bytes / 2 ** 30).toFixed(0)} GiB, ` +
    `Linux ${machine.kernel}, ${machine.compiler}`);
for (const row of rows) {
    console.log(row.map((cell, column) => (column === 2 || column === 4 ? cell.padStart(widths[column])
        : cell.padEnd(widths[column]))).join('  ').trimEnd());
}
if (kept && kept.machine?.processor !== machine.processor) {
    console.log(`kept on another machine (${kept.machine?.processor ?? 'unknown'}): its figures are no measure for this one`);
}
console.log(`all figures: ${join(folder, 'all.json')}`);
process.exit(empty > 0 ? 1 : 0);
