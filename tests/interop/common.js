// What MQTT.js scripts against a broker share: connect, wait for a message, steps that are counted.
'use strict';
const mqtt = require('mqtt');

const url = process.argv[2];
let failures = 0;

function report(name, good, detail) {
    console.log(`${good ? 'ok     ' : 'FAILED '} ${name}${good || !detail ? '' : `: ${detail}`}`);
    failures += good ? 0 : 1;
}

function connect(options) {
    return mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, connectTimeout: 10000, ...options });
}

// The next message that is wanted.
function next(client, wanted = () => true, ms = 10000) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => done(reject, new Error('no message in time')), ms);
        const listener = (topic, payload, packet) => {
            const message = { topic, payload, text: payload.toString(), packet };
            if (wanted(message)) done(resolve, message);
        };
        const done = (how, what) => {
            clearTimeout(timer);
            client.removeListener('message', listener);
            how(what);
        };
        client.on('message', listener);
    });
}

async function step(name, work) {
    try {
        const problem = await work();
        report(name, !problem, problem);
    } catch (error) {
        report(name, false, error.message);
    }
}

module.exports = { mqtt, url, report, connect, next, step, failures: () => failures };
