// Compares our codec with mqtt-packet: every text vector and COUNT random packets, in both directions.
//
//   node compare.mjs BRIDGE VECTOR_FOLDER [COUNT [FIRST_SEED]]
//
// Ours encodes, theirs decodes to the same fields; theirs encodes, ours decodes to the same. Where mqtt-packet is known to deviate
// from the standard the case is counted under its name below; anything else that differs is a failure (exit 1). So is a deviation
// that never occurred: then the list is out of date.

import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import mqtt from 'mqtt-packet';
import { comparable, fromTheirs, toTheirs } from './translate.mjs';

const [bridge, folder, count = '100000', firstSeed = '1'] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node compare.mjs BRIDGE VECTOR_FOLDER [COUNT [FIRST_SEED]]');
  process.exit(2);
}

const propertySets = (packet) => [packet.properties, packet.will?.properties].filter(Boolean);
const pairsOf = (packet) => propertySets(packet).map((set) => set.userProperties ?? []);

/** Deviations of mqtt-packet 9.0.2 on legal packets. `decode`, `encode`: does it concern this packet in that direction? */
const DEVIATIONS = [
  { name: 'user properties lose their order across names', checked: true,
    decode: (p) => pairsOf(p).some((pairs) => new Set(pairs.map(([name]) => name)).size > 1),
    encode: (p) => pairsOf(p).some((pairs) => new Set(pairs.map(([name]) => name)).size > 1) },
  { name: 'an empty user property value is overwritten by the next of the same name',
    decode: (p) => pairsOf(p).some((pairs) => pairs.some(([name, value], i) => value === '' && pairs.slice(i + 1).some(([other]) => other === name))) },
  { name: 'DISCONNECT 0x8C (table 2-6) is refused', decode: (p) => p.type === 'disconnect' && p.reason === 0x8C },
  { name: 'AUTH of length 0 (3.15.2.1) is refused', decode: (p) => p.type === 'auth' && p.reason === 0 && !p.properties },
  { name: 'AUTH of length 0 is written without a method, which 3.15.2.2.2 forbids', encode: (p) => p.type === 'auth' && !p.properties },
  { name: 'password without user name is not written',
    encode: (p) => p.type === 'connect' && p.password !== undefined && p.userName === undefined },
  { name: 'empty client identifier without clean start is not written',
    encode: (p) => p.type === 'connect' && p.clientId === '' && !p.cleanStart },
];

/** Rules that mqtt-packet does not check: illegal packets it takes. Section or statement as in the vectors. */
const UNCHECKED = new Set(['MQTT-1.5.4-1', 'MQTT-1.5.4-2', 'MQTT-1.5.5-1', 'MQTT-2.2.1-3', 'MQTT-3.1.2-12', 'MQTT-3.1.2-22',
  'MQTT-3.1.2-2', 'MQTT-3.1.3-8', 'MQTT-3.2.2-6', 'MQTT-3.2.2-8', 'MQTT-3.3.1-2', 'MQTT-3.3.2-2', 'MQTT-3.3.2-8', 'MQTT-3.3.2-14', 'MQTT-3.3.4-6',
  'MQTT-3.8.3-2', 'MQTT-3.8.3-4', 'MQTT-3.8.4-6', 'MQTT-3.10.3-2', 'MQTT-3.14.2-1', 'MQTT-3.14.2-2', 'MQTT-3.15.2-1', 'MQTT-4.7.0-1',
  'MQTT-4.7.3-1', 'MQTT-3.1.2-1', 'S2.1.4b', 'S2.2.2.2a', 'S2.2.2.2c', 'S3.1.2.11.3a', 'S3.1.2.11.4a', 'S3.1.2.11.6a',
  'S3.1.2.11.7a', 'S3.1.2.11.10a', 'S3.1.3.2.3a', 'S3.2.2.3.4a', 'S3.2.2.3.5a', 'S3.2.2.3.11a', 'S3.2.2.3.12a', 'S3.2.2.3.13a',
  'S3.3.2.1a', 'S3.3.2.3.8a', 'S3.13a', 'S3.14', 'S3.14.2.2.5', 'S3.15.2.2.2a']);

const tally = new Map();
const add = (key) => tally.set(key, (tally.get(key) ?? 0) + 1);
let failures = 0;
function failure(label, text) {
  if (++failures <= 20) console.error(`${label}: ${text}`);
}

function theirDecode(bytes, version) {
  const parser = mqtt.parser({ protocolVersion: version });
  let packet, error;
  parser.on('packet', (one) => { packet = one; });
  parser.on('error', (one) => { error ??= one; });
  try {
    parser.parse(bytes);
  } catch (thrown) {
    error ??= thrown;
  }
  return error ? { error } : packet ? { packet } : { error: new Error('no packet') };
}

function theirEncode(object, version) {
  const chunks = [];
  let error;
  const stream = { write(chunk) { chunks.push(Buffer.from(chunk)); return true; }, destroy(one) { error ??= one; } };
  try {
    mqtt.writeToStream(object, stream, { protocolVersion: version });
  } catch (thrown) {
    error ??= thrown;
  }
  return error ? { error } : { bytes: Buffer.concat(chunks) };
}

/** The deviations that concern a packet; null if one of them forbids the comparison. */
function excused(packet, direction) {
  let skip = false;
  for (const deviation of DEVIATIONS) {
    if (!deviation[direction]?.(packet)) continue;
    add(`deviation (${direction}): ${deviation.name}`);
    skip ||= !deviation.checked;
  }
  return skip;
}

function oursToTheirs(label, bytes, version, expected) {
  if (excused(expected, 'decode')) return;
  const { packet, error } = theirDecode(bytes, version);
  if (error) return failure(label, `mqtt-packet refuses ${bytes.toString('hex')}: ${error.message}`);
  const got = comparable(fromTheirs(packet, version)), wanted = comparable(expected);
  if (got !== wanted) return failure(label, `decoded differently\n  ours   ${wanted}\n  theirs ${got}`);
  add('ours encoded, theirs decoded alike');
}

const pending = []; // packets of theirs for one run of the bridge
function theirsToOurs(label, version, sender, expected) {
  if (excused(expected, 'encode')) return;
  const { bytes, error } = theirEncode(toTheirs(expected, version), version);
  if (error) return failure(label, `mqtt-packet cannot write it: ${error.message}`);
  pending.push({ label, version, sender, expected, hex: bytes.toString('hex') });
}

function run(args, input) {
  const result = spawnSync(bridge, args, { input, encoding: 'utf8', maxBuffer: 1 << 30 });
  if (result.status !== 0) {
    console.error(`${bridge} ${args.join(' ')}: ${result.error ?? result.stderr}`);
    process.exit(2);
  }
  return result.stdout.split('\n').slice(0, -1);
}

function flush() {
  const lines = run(['decode'], pending.map((p) => `${p.version} ${p.sender} ${p.hex}\n`).join(''));
  if (lines.length !== pending.length) failure('bridge', `${lines.length} answers to ${pending.length} packets`);
  pending.forEach(({ label, expected, hex }, i) => {
    const line = lines[i] ?? '';
    if (!line.startsWith('ok ')) return failure(label, `we refuse theirs ${hex}: ${line}`);
    const got = comparable(JSON.parse(line.slice(3))), wanted = comparable(expected);
    if (got !== wanted) return failure(label, `theirs decoded differently\n  asked ${wanted}\n  ours  ${got}`);
    add('theirs encoded, ours decoded alike');
  });
  pending.length = 0;
}

/** The format is described beside the vectors. */
function* readVectors(file) {
  let vector = {};
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [key] = line.split(':', 1);
    const value = line.slice(key.length + 2);
    if (key === 'vector') vector = { name: value, hex: '' };
    else if (key === 'version') vector.version = value === '5' ? 5 : 4;
    else if (key === 'sender') vector.sender = { client: 1, server: 2, either: 3 }[value];
    else if (key === 'hex') vector.hex += value.split('#')[0];
    else if (line.startsWith('     ')) vector.hex += line.split('#')[0];
    else if (key === 'ok' || key === 'ok noncanonical') yield { ...vector, bytes: Buffer.from(vector.hex.replace(/\s/g, ''), 'hex'), expected: JSON.parse(value) };
    else if (key === 'error') yield { ...vector, bytes: Buffer.from(vector.hex.replace(/\s/g, ''), 'hex'), rule: value.split(' ')[2] };
  }
}

const accepted = new Set();
function checkVector(label, vector) {
  if (vector.expected) {
    oursToTheirs(label, vector.bytes, vector.version, vector.expected);
    return theirsToOurs(label, vector.version, vector.sender, vector.expected);
  }
  if (theirDecode(vector.bytes, vector.version).error) return add('illegal vectors that both refuse');
  if (!UNCHECKED.has(vector.rule)) return failure(label, `mqtt-packet takes it, ${vector.rule} is not in the list`);
  accepted.add(vector.rule);
  add('illegal vectors that only we refuse');
}

let vectors = 0;
for (const name of readdirSync(folder).filter((one) => one.endsWith('.txt')).sort())
  for (const vector of readVectors(join(folder, name))) {
    vectors++;
    checkVector(`${name} ${vector.name}`, vector);
  }
flush();

const BLOCK = 10000;
for (let done = 0; done < Number(count); done += BLOCK) {
  const here = Math.min(BLOCK, Number(count) - done), first = Number(firstSeed) + done;
  run(['random', String(first), String(here)]).forEach((line, i) => {
    const [version, sender, hex] = line.split(' ', 3);
    const expected = JSON.parse(line.slice(version.length + sender.length + hex.length + 3));
    oursToTheirs(`seed ${first + i}`, Buffer.from(hex, 'hex'), Number(version), expected);
    theirsToOurs(`seed ${first + i}`, Number(version), sender, expected);
  });
  flush();
}

for (const deviation of DEVIATIONS)
  for (const direction of ['decode', 'encode'])
    if (deviation[direction] && !tally.has(`deviation (${direction}): ${deviation.name}`))
      failure('list', `deviation never seen (${direction}): ${deviation.name}`);
for (const rule of UNCHECKED)
  if (!accepted.has(rule)) failure('list', `mqtt-packet does check ${rule}`);

console.log(`mqtt-packet ${JSON.parse(readFileSync(new URL('./node_modules/mqtt-packet/package.json', import.meta.url))).version}: ${vectors} vectors, ${count} random packets from seed ${firstSeed}`);
for (const [key, value] of [...tally].sort()) console.log(`  ${String(value).padStart(7)}  ${key}`);
console.log(failures ? `${failures} failures` : 'no other difference');
process.exit(failures ? 1 : 0);
