// foreign_traffic.mjs: a broker's other users, who must not notice that conformance checks ran beside them.
//
//   node foreign_traffic.mjs mqtt://HOST:PORT COMMAND...
//
// A hundred clients with sessions that stay: each subscribes below site/NN/, each keeps a retained message, fifty are connected and publish all the
// time, fifty are away. Then each COMMAND (bash) is run; before the first and after each of them everything is looked at: retained messages of the
// whole broker, the sessions of those who are away with what was queued for them, every message of those who are connected, and the broker's own
// counts. Exit 1, and a line each, for what is different.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";

const mqtt = createRequire(new URL("../interop/", import.meta.url))("mqtt");
const [url, ...commands] = process.argv.slice(2);
const CLIENTS = 100, ONLINE = 50;
let complaints = 0;

const complain = (text) => {
    complaints++;
    console.log(`FAIL: ${text}`);
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const site = (n) => `site/${String(n).padStart(2, "0")}`;
const version = (n) => (n % 2 ? 5 : 4);
const login = (n) => ({
    clientId: `foreign-${n}`, clean: false, protocolVersion: version(n), reconnectPeriod: 0, connectTimeout: 20000,
    ...(version(n) === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    ...(n % 10 === 0 ? { will: { topic: `${site(n)}/gone`, payload: "gone", qos: 1, retain: true } } : {}),
});

// ---- those who are connected: each hears its own counter, without a gap ----------------------------------------------

const online = [];
let over = false;

async function begin(n) {
    const client = await mqtt.connectAsync(url, login(n));
    const one = { n, client, sent: 0, heard: 0, asked: null };
    client.on("message", (topic, payload) => {
        if (topic === `${site(n)}/tick` && Number(payload.toString()) !== ++one.heard)
            complain(`${site(n)}: tick ${payload} where ${one.heard} was due`);
        if (topic === `${site(n)}/asked`)
            one.asked = payload.toString();
        if (!topic.startsWith(site(n)))
            complain(`${site(n)} was sent ${topic}`);
    });
    client.on("close", () => over || complain(`${site(n)} lost its connection`));
    await client.subscribeAsync(`${site(n)}/#`, { qos: 1 });
    await client.publishAsync(`${site(n)}/state`, `state of ${n}`, { qos: 1, retain: true });
    return one;
}

const ticking = setInterval(() => {
    for (const one of online)
        one.client.publishAsync(`${site(one.n)}/tick`, String(++one.sent), { qos: 1 }).catch((error) => over || complain(`${site(one.n)}: ${error.message}`));
}, 250);

// ---- the broker as it is ------------------------------------------------------------------------------------------------

async function retainedMessages() {
    const client = await mqtt.connectAsync(url, { clientId: "foreign-look", protocolVersion: 5, reconnectPeriod: 0 });
    const found = {};
    client.on("message", (topic, payload, packet) => {
        if (packet.retain)
            found[topic] = `${payload} (QoS ${packet.qos})`;
    });
    await client.subscribeAsync("#", { qos: 2 });
    await pause(1500);
    await client.endAsync();
    return found;
}

// mosquitto tells a count when it changes, and forgets it a minute later: somebody comes and goes, so that all of them are told. Its count of retained
// messages has these in it, and goes up and down with them; what is retained has been read one by one.
async function brokerCounts() {
    const client = await mqtt.connectAsync(url, { clientId: "foreign-look", protocolVersion: 5, reconnectPeriod: 0 });
    const found = {};
    client.on("message", (topic, payload) => {
        found[topic] = payload.toString();
    });
    await client.subscribeAsync(["$SYS/broker/clients/total", "$SYS/broker/clients/disconnected", "$SYS/broker/subscriptions/count",
        "$SYS/broker/shared_subscriptions/count"], { qos: 0 });
    const extra = await mqtt.connectAsync(url, { clientId: "foreign-extra", protocolVersion: 5, reconnectPeriod: 0 });
    await extra.subscribeAsync(["$share/foreign/site/none", "site/none"]);
    const away = await mqtt.connectAsync(url, login(CLIENTS - 1));
    await pause(3000);
    await Promise.all([extra.endAsync(), away.endAsync()]);
    await pause(3000);
    await client.endAsync();
    return found;
}

// Who was away comes back: its session is there, with the one message that was queued, and its subscription works on.
async function awaySession(n, word) {
    const client = mqtt.connect(url, login(n));
    const heard = [];
    client.on("message", (topic, payload) => heard.push(`${topic} ${payload}`));
    const connack = await new Promise((resolve, reject) => {
        client.once("connect", resolve);
        client.once("error", reject);
    });
    const until = Date.now() + 10000;
    while (!heard.length && Date.now() < until)
        await pause(20);
    await client.endAsync();
    return `${connack.sessionPresent ? "session" : "no session"}, heard ${heard.join("; ").replaceAll(word, "WORD")}`;
}

async function look(word) {
    const sender = await mqtt.connectAsync(url, { clientId: "foreign-sender", protocolVersion: 5, reconnectPeriod: 0 });
    for (let n = 0; n < CLIENTS; n++)
        await sender.publishAsync(`${site(n)}/asked`, word, { qos: 1 });
    await sender.endAsync();
    const found = { retained: await retainedMessages(), sessions: {}, asked: {}, counts: {} };
    for (let n = ONLINE; n < CLIENTS; n++)
        found.sessions[site(n)] = await awaySession(n, word);
    for (const one of online)
        found.asked[site(one.n)] = one.asked === word ? "heard" : "not heard";
    found.counts = await brokerCounts();
    return found;
}

function differ(before, after, what) {
    for (const part of Object.keys(before))
        for (const key of new Set([...Object.keys(before[part]), ...Object.keys(after[part])]))
            if (before[part][key] !== after[part][key])
                complain(`${what}: ${part}: ${key}: ${before[part][key]} before, ${after[part][key]} after`);
}

// ---- the whole ------------------------------------------------------------------------------------------------------------

for (let n = 0; n < CLIENTS; n++) {
    const one = await begin(n);
    if (n < ONLINE)
        online.push(one);
    else {
        one.client.removeAllListeners("close");
        await one.client.endAsync();
    }
}
await pause(2000);
await look("first"); // what the first look itself leaves is there afterwards, too
const before = await look("before");
const kept = Object.keys(before.retained).filter((topic) => topic.startsWith("site/")).length;
const sessions = Object.values(before.sessions).filter((text) => text.startsWith("session")).length;
if (kept !== CLIENTS || sessions !== CLIENTS - ONLINE || Object.keys(before.counts).length < 4)
    complain(`the foreign traffic is not as it should be: ${kept} retained, ${sessions} sessions, ${JSON.stringify(before.counts)}`);
for (const [index, command] of commands.entries()) {
    const code = await new Promise((resolve) => spawn("bash", ["-c", command], { stdio: "inherit" }).on("close", resolve));
    if (code !== 0)
        complain(`'${command}' ended with ${code}`);
    await pause(2000);
    const after = await look(`after${index}`);
    differ(before, after, command);
    const ours = Object.keys(after.retained).filter((topic) => topic.includes("mc5"));
    console.log(`after '${command}': ${Object.keys(after.retained).length} retained messages, ${ours.length} of them of the checks; ` +
        `${Object.keys(after.sessions).length} sessions, ${online.reduce((sum, one) => sum + one.heard, 0)} messages heard; ${JSON.stringify(after.counts)}`);
}
clearInterval(ticking);
await pause(1000);
over = true;
for (const one of online)
    if (one.heard !== one.sent)
        complain(`${site(one.n)} sent ${one.sent} and heard ${one.heard}`);
await Promise.all(online.map((one) => one.client.endAsync()));
console.log(complaints ? `${complaints} complaints` : "nothing is different");
process.exit(complaints ? 1 : 0);
