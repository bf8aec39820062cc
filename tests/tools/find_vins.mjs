// find_vins.mjs [--vins FILE | --only FILE] PATH...: every VIN in the bytes of files and of all files in directories, one a line: file, offset, how it is
// written, the VIN. Exit 1 when there is any, 0 when there is none.
//
// Written from ISO 3779 and 49 CFR 565, without a look at the program's own finder. It finds
//   - whatever is well formed: 17 of A-Z 0-9 without I, O, Q, all capitals or all small, the check digit in the ninth place, with no letter or
//     digit on either side (windows of longer runs would find VINs in every digest), and not digits only (numbers of 17 digits are frequent).
//     A database puts its columns side by side, so that a serial number and the next column's letter look like one: it is read by sqlite3;
//   - with --vins (one a line) those very VINs anywhere, in the middle of longer runs and in any case, too; with --only just those (in an image of
//     memory everything stands beside something);
// in the bytes as they are, and in what they hold in base64, in hexadecimal or with a zero byte after or before each letter.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const values = Object.fromEntries([..."ABCDEFGH"].map((c, i) => [c, i + 1]).concat(
    [..."JKLMN"].map((c, i) => [c, i + 1]), [["P", 7], ["R", 9]], [..."STUVWXYZ"].map((c, i) => [c, i + 2]),
    [..."0123456789"].map((c, i) => [c, i])));
const weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];

function wellFormed(text) {
    if (!/^[A-HJ-NPR-Z0-9]{17}$/.test(text) || /^[0-9]+$/.test(text))
        return false;
    const sum = [...text].reduce((total, c, i) => total + values[c] * weights[i], 0);
    return text[8] === "0123456789X"[sum % 11];
}

const oneCase = (text) => text === text.toUpperCase() || text === text.toLowerCase();

function scan(bytes, fleet, found, how, depth, columns = false) {
    const text = bytes.toString("latin1");
    for (const run of text.matchAll(/[A-Za-z0-9]{17,}/g)) {
        const letters = run[0].toUpperCase();
        if (!columns && !only && letters.length === 17 && oneCase(run[0]) && wellFormed(letters))
            found(run.index, how, letters);
        else
            for (let i = 0; fleet.size && i + 17 <= letters.length; i++)
                if (fleet.has(letters.slice(i, i + 17)))
                    found(run.index + i, how, letters.slice(i, i + 17));
    }
    if (depth === 0)
        return;
    const inside = (way, from) => (at, inner, vin) => found(from, inner ? `${way}, ${inner}` : way, vin);
    // Lines of base64 belong together; each of the four places a group may begin at.
    for (const run of text.matchAll(/[A-Za-z0-9+/_-]{23,}(?:\r?\n[A-Za-z0-9+/_-]+)*/g)) {
        const plain = run[0].replace(/[\r\n]/g, "").replace(/-/g, "+").replace(/_/g, "/");
        for (let i = 0; i < 4; i++)
            scan(Buffer.from(plain.slice(i), "base64"), fleet, inside("base64", run.index), "", depth - 1);
    }
    for (const run of text.matchAll(/[0-9A-Fa-f]{34,}/g))
        for (let i = 0; i < 2; i++)
            scan(Buffer.from(run[0].slice(i, run[0].length - (run[0].length - i) % 2), "hex"), fleet, inside("hexadecimal", run.index), "", depth - 1);
    for (const run of text.matchAll(/(?:[A-Za-z0-9]\0){17,}|(?:\0[A-Za-z0-9]){17,}/g))
        scan(Buffer.from(run[0].replace(/\0/g, ""), "latin1"), fleet, inside("UTF-16", run.index), "", 0);
}

function* files(path) {
    if (!statSync(path).isDirectory()) {
        yield path;
        return;
    }
    for (const name of readdirSync(path))
        yield* files(join(path, name));
}

const paths = process.argv.slice(2);
const only = paths[0] === "--only";
let fleet = new Set();
if (only || paths[0] === "--vins") {
    const lines = readFileSync(paths[1], "utf8").split("\n").filter(Boolean);
    if (lines.length === 0 || !lines.every(wellFormed)) {
        console.error(`${paths[1]}: not a list of VINs`);
        process.exit(2);
    }
    fleet = new Set(lines);
    paths.splice(0, 2);
}
let count = 0, scanned = 0, bytes = 0;
for (const path of paths)
    for (const file of files(path)) {
        const content = readFileSync(file);
        const seen = new Set();
        scanned++;
        bytes += content.length;
        const found = (at, how, vin) => {
            const line = `${file} ${at} ${how || "in clear"} ${vin}`;
            if (seen.has(line))
                return;
            seen.add(line);
            count++;
            console.log(line);
        };
        const database = content.subarray(0, 16).toString("latin1") === "SQLite format 3\0";
        scan(content, fleet, found, "", 2, database);
        if (database && !only)
            scan(execFileSync("sqlite3", [file, ".dump"], { maxBuffer: 1 << 30 }), fleet,
                 (at, how, vin) => found(at, how ? `dump, ${how}` : "dump", vin), "", 2);
    }
console.error(`${count} VINs in ${bytes} bytes of ${scanned} files`);
process.exit(count ? 1 : 0);
