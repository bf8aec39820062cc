// MQTT.js (v5) against the Device Shadow of a cloud: the contract's answers and codes, named shadows, deltas, documents, what is in flight.
// usage: node cloud_shadow.js mqtt://host:port
'use strict';
const { connect, next: message, step, failures } = require('./common');

let tokens = 0;
// The next message whose body, JSON, is wanted.
async function next(client, wanted, ms) {
    const read = (m) => ({ topic: m.topic, body: JSON.parse(m.text) });
    return read(await message(client, (m) => wanted(read(m)), ms));
}

// Asks, and returns the answer that bears the token: { code } of 200 for what was accepted.
async function ask(client, path, operation, request) {
    const token = `js-${++tokens}`;
    const got = next(client, (m) => m.body.clientToken === token && m.topic.startsWith(`${path}/${operation}/`));
    await client.publishAsync(`${path}/${operation}`, JSON.stringify({ ...request, clientToken: token }), { qos: 1 });
    const { topic, body } = await got;
    return { code: topic.endsWith('/accepted') ? 200 : body.code, body };
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

async function main() {
    const app = await connect({ clientId: 'app' });
    const car = await connect({ clientId: 'car-1' });
    const path = '$aws/things/car-1/shadow', cabin = `${path}/name/cabin`;
    await app.subscribeAsync([`${path}/#`], { qos: 1 });
    await car.subscribeAsync([`${path}/update/delta`, `${path}/+/accepted`, `${path}/+/rejected`], { qos: 1 });

    await step('get of a shadow that never was: 404', async () => {
        const { code, body } = await ask(app, path, 'get', {});
        return code === 404 && body.message === 'No shadow exists with name: car-1' ? '' : JSON.stringify(body);
    });
    await step('update: echo of what was said, version 1, seconds', async () => {
        const { code, body } = await ask(car, path, 'update', { state: { reported: { climate: { target: 20 }, doors: 'locked' } } });
        const good = code === 200 && body.version === 1 && same(body.state, { reported: { climate: { target: 20 }, doors: 'locked' } }) &&
            body.metadata.reported.doors.timestamp === body.timestamp && body.timestamp < 1e11;
        return good ? '' : JSON.stringify(body);
    });
    await step('a difference: delta to the car, documents to the app', async () => {
        const delta = next(car, (m) => m.topic === `${path}/update/delta`);
        const documents = next(app, (m) => m.topic === `${path}/update/documents` && m.body.current.version === 2);
        const { body } = await ask(app, path, 'update', { state: { desired: { climate: { target: 22 } } }, version: 1 });
        const told = (await delta).body, all = (await documents).body;
        const good = body.version === 2 && told.version === 2 && same(told.state, { climate: { target: 22 } }) && !told.state.doors &&
            all.previous.version === 1 && all.current.version === 2 && all.current.state.desired.climate.target === 22;
        return good ? '' : JSON.stringify([told, all]);
    });
    await step('another version: 409', async () => {
        const { code, body } = await ask(app, path, 'update', { state: { desired: { climate: { target: 25 } } }, version: 1 });
        return code === 409 && body.message === 'Version conflict' ? '' : JSON.stringify(body);
    });
    await step('reported follows: no delta left', async () => {
        await ask(car, path, 'update', { state: { reported: { climate: { target: 22 } } }, version: 2 });
        const { body } = await ask(app, path, 'get', {});
        return body.version === 3 && !body.state.delta && body.state.reported.climate.target === 22 ? '' : JSON.stringify(body);
    });
    await step('null deletes', async () => {
        await ask(app, path, 'update', { state: { desired: null, reported: { doors: null } } });
        const { body } = await ask(app, path, 'get', {});
        return !body.state.desired && !('doors' in body.state.reported) ? '' : JSON.stringify(body);
    });
    const codes = [
        ['no state', {}, 400, 'Missing required node: state'],
        ['state is a text', { state: 'x' }, 400, 'State node must be an object'],
        ['desired is a list', { state: { desired: [] } }, 400, 'Desired node must be an object'],
        ['a version that is a text', { state: { desired: { a: 1 } }, version: 'x' }, 400, 'Invalid version'],
        ['nine levels', { state: { desired: { a: { a: { a: { a: { a: { a: { a: { a: { a: 1 } } } } } } } } } } }, 400,
            'JSON contains too many levels of nesting; maximum is 6'],
        ['more than 8 KB', { state: { desired: { a: 'x'.repeat(9000) } } }, 413, 'The payload exceeds the maximum size allowed'],
    ];
    for (const [name, request, wanted, message] of codes)
        await step(`${name}: ${wanted}`, async () => {
            const { code, body } = await ask(app, path, 'update', request);
            return code === wanted && body.message === message ? '' : JSON.stringify(body);
        });
    await step('no JSON: 400', async () => {
        const got = next(app, (m) => m.topic === `${path}/update/rejected`);
        await app.publishAsync(`${path}/update`, '{"state":', { qos: 1 });
        const { body } = await got;
        return body.code === 400 && body.message === 'Invalid JSON' ? '' : JSON.stringify(body);
    });
    await step('a named shadow beside it', async () => {
        const { body } = await ask(app, cabin, 'update', { state: { desired: { seat: 3 } } });
        const classic = (await ask(app, path, 'get', {})).body, named = (await ask(app, cabin, 'get', {})).body;
        const good = body.version === 1 && named.state.desired.seat === 3 && named.state.delta.seat === 3 && !classic.state.desired;
        return good ? '' : JSON.stringify([named, classic]);
    });
    await step('delete keeps the version', async () => {
        const deleted = await ask(app, cabin, 'delete', {});
        const gone = await ask(app, cabin, 'get', {});
        const again = await ask(app, cabin, 'update', { state: { desired: { seat: 1 } } });
        return deleted.code === 200 && gone.code === 404 && again.body.version > deleted.body.version ? '' : JSON.stringify([deleted, gone, again]);
    });
    await step('more than ten answers not taken yet: 429', async () => {
        // A window of one: the broker holds back what it has to say.
        const slow = await connect({ clientId: 'slow', properties: { receiveMaximum: 1 }, customHandleAcks: (t, m, p, done) => setTimeout(() => done(0), 300) });
        await slow.subscribeAsync(`${cabin}/get/+`, { qos: 1 });
        const refused = next(slow, (m) => m.body.code === 429, 20000);
        for (let i = 0; i < 14; i++) slow.publish(`${cabin}/get`, '{}', { qos: 1 });
        const { body } = await refused;
        slow.end(true);
        return body.code === 429 ? '' : JSON.stringify(body);
    });
    await step('an operation that is none of the three is not taken', async () => {
        try {
            await app.publishAsync(`${path}/erase`, '{}', { qos: 1 });
        } catch (error) {
            return error.code === 0x90 ? '' : `${error.code}`;
        }
        return 'taken';
    });
    await app.endAsync();
    await car.endAsync();
    console.log(`${failures()} failures`);
    process.exit(failures() ? 1 : 0);
}

main().catch((error) => {
    console.log(error);
    process.exit(1);
});
