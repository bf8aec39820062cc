// conform_dissector.mjs: what convoy decoded of a conformance run (packets.jsonl) held against what Wireshark's dissector says of trace.pcapng.
//
//   tshark -r trace.pcapng -T pdml -J "mqtt _ws.malformed" | node conform_dissector.mjs packets.jsonl
//
// Connection by connection, direction by direction, packet by packet, at the same place of the stream: type, header flags, length, and then every
// field of the packet. A packet that convoy calls illegal must be one that tshark complains of, too, or one that breaks a rule which a dissector
// does not look at (`lenient` below: each with its reason). Exit 1: they differ; each difference is printed with both sides.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

// What tshark lets pass: why convoy calls the packet illegal -> why that is no difference. What is in neither list differs.
const lenient = [
    [/^(reserved header flags|QoS 3|DUP with QoS 0)$/, "flags of the fixed header are shown, not judged (compared all the same)"],
    [/^(reserved |retain handling|requested QoS|no local on|will QoS|will retain|password without)/, "bits within the packet are shown, not judged"],
    [/UTF-8|U\+0000/, "strings are shown as they come; only some are remarked on"],
    [/wildcard|^no topic filter$|^empty (topic|client)|share name|^topic filter|shared/, "what a topic, a filter or a client id may be is not looked at"],
    [/ is 0$|neither 0 nor 1$|^Topic Alias|^packet identifier/, "numbers are shown, not judged"],
    [/^property (given twice|not allowed)|^unknown property|^client sent a|Authentication (Data|Method)/, "which properties a packet may have, and how often, is not looked at"],
    [/^protocol (name|version)/, "a CONNECT of another protocol is shown as far as it goes"],
    [/^reason code|without a reason code$|with session present$/, "reason codes are shown, not judged"],
    [/^bytes left over|does not fit the packet$|^variable byte integer/, "lengths are taken as they come"],
    [/^a field runs past the end$|^property length runs past/, "some fields are left out when the packet ends before them"],
    [/^packet type (0|of the other side)$|in 3\.1\.1$|from a 3\.1\.1 server$/, "who may send what is not looked at"],
];

const streams = new Map(); // "7 client" -> {ours, theirs, bytes}
function stream(key) {
    if (!streams.has(key))
        streams.set(key, { ours: [], theirs: [], bytes: 0 });
    return streams.get(key);
}

// ---- ours -------------------------------------------------------------------------------------------------------------

async function readOurs(path) {
    for await (const line of createInterface({ input: createReadStream(path) })) {
        const packet = JSON.parse(line);
        if (packet.sent)
            stream(`${packet.connection} ${packet.from}`).ours.push(packet);
    }
}

// ---- theirs -----------------------------------------------------------------------------------------------------------

const attribute = (line, name) => {
    const at = line.indexOf(` ${name}="`);
    if (at < 0)
        return "";
    const from = at + name.length + 3;
    return line.slice(from, line.indexOf('"', from));
};

// capture.c: connection n is 10.0.0.1 + n / 30000, port 20000 + n % 30000
function connectionOf(address, port) {
    const part = address.split(".").map(Number);
    return (((part[1] << 16) | (part[2] << 8) | part[3]) - 1) * 30000 + (port - 20000);
}

async function readTheirs(input) {
    let from = "", to = "", key = "", last = null, inFrame = [];
    for await (const line of createInterface({ input })) {
        const text = line.trimStart();
        if (text.startsWith("<field name=\"mqtt.") && last) {
            const name = attribute(text, "name").slice(5);
            (last.fields[name] ??= []).push({ show: attribute(text, "show"), value: attribute(text, "value"), size: Number(attribute(text, "size")) });
        } else if (text.startsWith('<field name="_ws.expert.message"') && last) {
            last.expert.push(attribute(text, "show"));
        } else if (text.startsWith("<packet>")) {
            last = null;
            inFrame = [];
        } else if (text.startsWith('<proto name="ip"')) {
            [, from, to] = / Src: ([\d.]+), Dst: ([\d.]+)/.exec(text);
        } else if (text.startsWith('<proto name="tcp"')) {
            const [, source, destination, length] = /Src Port: (\d+), Dst Port: (\d+),.* Len: (\d+)/.exec(text);
            key = destination === "1883" ? `${connectionOf(from, Number(source))} client` : `${connectionOf(to, Number(destination))} server`;
            stream(key).bytes += Number(length);
        } else if (text.startsWith('<proto name="mqtt"')) {
            last = { size: Number(attribute(text, "size")), fields: {}, expert: [], malformed: false };
            inFrame.push(last);
            stream(key).theirs.push(last);
        } else if (text.startsWith('<proto name="_ws.malformed"')) {
            if (last)
                last.malformed = true;
            else
                stream(key).theirs.push({ size: 0, fields: {}, expert: ["malformed"], malformed: true });
        }
    }
}

// ---- one packet -------------------------------------------------------------------------------------------------------

const number = (theirs, name, index = 0) => (theirs.fields[name]?.[index] ? Number.parseInt(theirs.fields[name][index].value || "0", 16) : undefined);
const bit = (theirs, name) => theirs.fields[name]?.[0]?.show;
const hexes = (theirs, name) => (theirs.fields[name] ?? []).map((field) => field.value);
const sorted = (list) => [...new Set(list)].sort((a, b) => a - b).join(",");

function* headerDifferences(ours, theirs) {
    yield ["type and flags", ours.type * 16 + ours.flags, number(theirs, "hdrflags")];
    yield ["length", ours.length, theirs.size];
}

function* connectDifferences(ours, theirs) {
    yield ["version", ours.version, number(theirs, "ver")];
    yield ["clean start", ours.clean_start ? "1" : "0", bit(theirs, "conflag.cleansess")];
    yield ["keep alive", ours.keep_alive_s, number(theirs, "kalive")];
    yield ["client id", ours.client_id, hexes(theirs, "clientid")[0] ?? ""];
    yield ["will", ours.will_topic !== undefined ? "1" : "0", bit(theirs, "conflag.willflag")];
    if (ours.will_topic === undefined)
        return;
    yield ["will topic", ours.will_topic, hexes(theirs, "willtopic")[0] ?? ""];
    yield ["will qos", String(ours.will_qos), bit(theirs, "conflag.qos")];
    yield ["will retain", ours.will_retain ? "1" : "0", bit(theirs, "conflag.retain")];
}

const reasonFields = ["conack.val", "connack.reason_code", "puback.reason_code", "pubrec.reason_code", "pubrel.reason_code", "pubcomp.reason_code",
    "suback.reason_code", "suback.qos", "unsuback.reason_code", "disconnect.reason_code", "auth.reason_code"];

function* differences(ours, theirs) {
    yield* headerDifferences(ours, theirs);
    if (ours.type === 1)
        yield* connectDifferences(ours, theirs);
    if (ours.type === 2)
        yield ["session present", ours.session_present ? "1" : "0", bit(theirs, "conack.flags.sp")];
    if (ours.type === 3) {
        yield ["qos", String(ours.qos), bit(theirs, "qos")];
        yield ["dup", ours.dup ? "1" : "0", bit(theirs, "dupflag")];
        yield ["retain", ours.retain ? "1" : "0", bit(theirs, "retain")];
        yield ["topic", ours.topic, number(theirs, "topic_len") === 0 ? "" : hexes(theirs, "topic")[0]];
        yield ["payload length", ours.payload_length, theirs.fields.msg?.[0].size ?? 0];
    }
    yield ["packet id", ours.packet_id, number(theirs, "msgid")];
    if (ours.reasons) {
        const found = reasonFields.flatMap((name) => hexes(theirs, name).map((value) => Number.parseInt(value, 16)));
        yield ["reason codes", ours.reasons.join(","), found.length === 0 && [4, 5, 6, 7, 14, 15].includes(ours.type) ? "0" : found.join(",")];
    }
    if (ours.filters) {
        yield ["filters", ours.filters.map((each) => each.filter).join(","), hexes(theirs, "topic").join(",")];
        const options = ours.filters.map((each) => each.qos + 4 * each.no_local + 8 * each.as_published + 16 * each.handling);
        if (ours.type === 8)
            yield ["options", options.join(","), hexes(theirs, ours.version === 5 ? "subscription_options" : "sub.qos").map((value) => Number.parseInt(value, 16)).join(",")];
    }
    if (ours.version === 5)
        yield ["properties", sorted([...(ours.properties ?? []), ...(ours.will_properties ?? [])]),
            sorted(hexes(theirs, "property_id").map((value) => Number.parseInt(value, 16)))];
}

// ---- all of them ------------------------------------------------------------------------------------------------------

const counts = { packets: 0, legal: 0, unversioned: 0, illegal_both: 0, illegal_lenient: 0, cut: 0, unsent: 0, different: 0, fields: 0 };
const passed = new Map(), remarks = new Map();
const tally = (map, name) => map.set(name, (map.get(name) ?? 0) + 1);

function report(key, ours, text) {
    if (++counts.different <= 40)
        console.log(`differs: connection ${key}, ${ours ? `${ours.check}: ${ours.text}` : "?"}: ${text}${ours ? `\n  ${ours.hex.slice(0, 160)}` : ""}`);
}

// The packet announces more bytes than there are (or its length cannot be read): nobody can take it apart.
function isCut(ours) {
    const bytes = Buffer.from(ours.hex, "hex");
    let length = 0;
    for (let i = 1; i <= 4; i++) {
        if (i >= bytes.length)
            return true;
        length += (bytes[i] & 127) * 128 ** (i - 1);
        if (!(bytes[i] & 128))
            return bytes.length < 1 + i + length;
    }
    return true;
}

function compareIllegal(key, ours, theirs) {
    for (const [name, left, right] of headerDifferences(ours, theirs))
        if (left !== right)
            return report(key, ours, `${name}: ${left} here, ${right} there`);
    if (theirs.malformed || theirs.expert.length) {
        counts.illegal_both++;
        return;
    }
    const rule = lenient.find(([pattern]) => pattern.test(ours.why));
    if (!rule)
        return report(key, ours, `illegal here (${ours.why}), unremarked there`);
    counts.illegal_lenient++;
    tally(passed, `${ours.why}: ${rule[1]}`);
}

// Without a CONNECT before it that names 3.1.1 or 5.0 tshark cannot know how a packet is laid out: what all versions share is compared.
function compareUnversioned(key, ours, theirs) {
    const wrong = [...headerDifferences(ours, theirs)].filter(([, left, right]) => left !== right);
    if (wrong.length)
        return report(key, ours, wrong.map(([name, left, right]) => `${name}: ${left} here, ${right} there`).join("; "));
    counts.unversioned++;
}

function compare(key, ours, theirs, versioned) {
    if (!ours.legal)
        return compareIllegal(key, ours, theirs);
    if (!versioned)
        return compareUnversioned(key, ours, theirs);
    const wrong = [];
    for (const [name, left, right] of differences(ours, theirs)) {
        counts.fields++;
        if (left !== right)
            wrong.push(`${name}: ${left} here, ${right} there`);
    }
    if (theirs.malformed)
        wrong.push("malformed there");
    for (const remark of theirs.expert)
        tally(remarks, remark);
    if (wrong.length)
        report(key, ours, wrong.join("; "));
    else
        counts.legal++;
}

// The version byte of a CONNECT, however wrong the rest is.
function namedVersion(ours) {
    const bytes = Buffer.from(ours.hex, "hex");
    let at = 1;
    while (at < 4 && bytes[at] & 128)
        at++;
    if (ours.type !== 1 || at + 3 > bytes.length)
        return 0;
    return bytes[at + 3 + bytes.readUInt16BE(at + 1)];
}

// Where in a client's packets the first CONNECT stands that names a version tshark knows.
function versionedFrom(ours) {
    const first = ours.findIndex((each) => each.type === 1 && [4, 5].includes(namedVersion(each)));
    return first < 0 ? Infinity : first;
}

function compareStream(key, { ours, theirs, bytes }) {
    let at = 0, index = 0;
    const known = versionedFrom(streams.get(key.replace("server", "client")).ours);
    for (const packet of ours) {
        if (at + packet.length > bytes) {
            counts.unsent++; // the connection ended before it was out
            at += packet.length;
            continue;
        }
        at += packet.length;
        counts.packets++;
        if (isCut(packet)) {
            counts.cut++;
            if (packet.legal)
                report(key, packet, "whole here, cut short by its length");
            return; // whatever follows is part of it
        }
        if (index >= theirs.length)
            return report(key, packet, "not there");
        compare(key, packet, theirs[index], key.endsWith("server") ? known < Infinity : index >= known);
        index++;
    }
    if (index < theirs.length)
        report(key, ours.at(-1), `${theirs.length - index} packets more there`);
}

await readOurs(process.argv[2]);
await readTheirs(process.stdin);
for (const [key, each] of streams)
    compareStream(key, each);
const agreed = counts.legal + counts.unversioned + counts.illegal_both + counts.illegal_lenient + counts.cut;
for (const [what, count] of [...passed].sort())
    console.log(`  ${count} illegal here and unremarked there: ${what}`);
for (const [what, count] of [...remarks].sort())
    console.log(`  ${count} legal here and remarked on there: ${what}`);
console.log(`${agreed} of ${counts.packets} packets agree (${counts.fields} fields): ${counts.legal} legal, ${counts.unversioned} beside no CONNECT of a known version, ${counts.illegal_both} illegal on both sides, ` +
    `${counts.illegal_lenient} illegal here and unremarked there, ${counts.cut} cut short; ${counts.unsent} never sent; ${streams.size} directions of connections`);
process.exit(counts.different || counts.packets === 0 ? 1 : 0);
