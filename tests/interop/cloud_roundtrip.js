// MQTT.js (v5) against a broker: publish, subscribe, retained, will, shared subscription, request and response, user properties.
// usage: node cloud_roundtrip.js mqtt://host:port
'use strict';
const { mqtt, url, connect, next, step, failures } = require('./common');

async function main() {
    const one = await connect({ clientId: 'js-one' });
    const two = await connect({ clientId: 'js-two' });

    for (const qos of [0, 1, 2]) {
        await step(`publish and subscribe, qos ${qos}`, async () => {
            await one.subscribeAsync(`js/plain/${qos}`, { qos });
            const got = next(one, ({ topic }) => topic === `js/plain/${qos}`);
            await two.publishAsync(`js/plain/${qos}`, `payload ${qos}`, { qos });
            const message = await got;
            return message.text === `payload ${qos}` && message.packet.qos === qos ? '' : JSON.stringify(message.packet);
        });
    }

    await step('user properties, content type and expiry arrive', async () => {
        await one.subscribeAsync('js/properties', { qos: 1 });
        const got = next(one, ({ topic }) => topic === 'js/properties');
        await two.publishAsync('js/properties', 'x', {
            qos: 1,
            properties: { contentType: 'text/plain', messageExpiryInterval: 60, userProperties: { fw: '1.2', schema: ['a', 'b'] } },
        });
        const p = (await got).packet.properties;
        const good = p.contentType === 'text/plain' && p.messageExpiryInterval <= 60 && p.messageExpiryInterval >= 50 &&
            p.userProperties.fw === '1.2' && JSON.stringify(p.userProperties.schema) === '["a","b"]';
        return good ? '' : JSON.stringify(p);
    });

    await step('retained', async () => {
        await two.publishAsync('js/retained', 'kept', { qos: 1, retain: true });
        const got = next(one, ({ topic }) => topic === 'js/retained');
        await one.subscribeAsync('js/retained', { qos: 1 });
        const message = await got;
        await two.publishAsync('js/retained', '', { qos: 1, retain: true });
        return message.text === 'kept' && message.packet.retain ? '' : JSON.stringify(message.packet);
    });

    await step('will', async () => {
        await one.subscribeAsync('js/will', { qos: 1 });
        const mortal = await connect({ clientId: 'js-mortal', will: { topic: 'js/will', payload: Buffer.from('gone'), qos: 1, retain: false } });
        const got = next(one, ({ topic }) => topic === 'js/will');
        mortal.on('error', () => {});
        mortal.stream.destroy();
        const message = await got;
        mortal.end(true);
        return message.text === 'gone' ? '' : message.text;
    });

    await step('shared subscription', async () => {
        const counts = [0, 0];
        const seen = new Set();
        const members = [await connect({ clientId: 'js-member-0' }), await connect({ clientId: 'js-member-1' })];
        for (const [i, member] of members.entries()) {
            member.on('message', (topic, payload) => {
                counts[i] += 1;
                seen.add(payload.toString());
            });
            await member.subscribeAsync('$share/js/js/work', { qos: 1 });
        }
        const all = new Promise((resolve) => {
            for (const member of members) member.on('message', () => seen.size === 20 && resolve());
        });
        for (let i = 0; i < 20; i += 1) await two.publishAsync('js/work', `job ${i}`, { qos: 1 });
        await Promise.race([all, new Promise((resolve) => setTimeout(resolve, 10000))]);
        for (const member of members) await member.endAsync();
        return counts[0] === 10 && counts[1] === 10 ? '' : `${counts}`;
    });

    await step('request and response', async () => {
        await two.subscribeAsync('js/ask', { qos: 1 });
        two.on('message', (topic, payload, packet) => {
            if (topic !== 'js/ask') return;
            const { responseTopic, correlationData } = packet.properties;
            two.publish(responseTopic, `answer to ${payload}`, { qos: 1, properties: { correlationData } });
        });
        await one.subscribeAsync('js/answer/1', { qos: 1 });
        const got = next(one, ({ topic }) => topic === 'js/answer/1');
        await one.publishAsync('js/ask', 'question', {
            qos: 1,
            properties: { responseTopic: 'js/answer/1', correlationData: Buffer.from([1, 2, 3]) },
        });
        const message = await got;
        const good = message.text === 'answer to question' && message.packet.properties.correlationData.equals(Buffer.from([1, 2, 3]));
        return good ? '' : JSON.stringify(message.packet);
    });

    await step('a session outlives its connection', async () => {
        const id = { clientId: 'js-session', clean: false, properties: { sessionExpiryInterval: 60 } };
        let client = await connect(id);
        await client.subscribeAsync('js/session', { qos: 1 });
        await client.endAsync();
        await two.publishAsync('js/session', 'while away', { qos: 1 });
        client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 0, ...id });
        const message = await next(client, ({ topic }) => topic === 'js/session');
        await client.endAsync();
        return message.text === 'while away' ? '' : message.text;
    });

    await step('topic alias', async () => {
        const talker = await connect({ clientId: 'js-alias', autoAssignTopicAlias: true });
        await one.subscribeAsync('js/alias', { qos: 1 });
        const texts = [];
        const got = next(one, ({ topic, text }) => topic === 'js/alias' && texts.push(text) === 3);
        for (const text of ['a', 'b', 'c']) await talker.publishAsync('js/alias', text, { qos: 1 });
        await got;
        await talker.endAsync();
        return texts.join('') === 'abc' ? '' : texts.join();
    });

    await one.endAsync();
    await two.endAsync();
}

const patience = setTimeout(() => {
    console.log('FAILED  no end in time');
    process.exit(1);
}, 90000);
main().then(
    () => {
        clearTimeout(patience);
        console.log(`${failures()} failures`);
        process.exit(failures() ? 1 : 0);
    },
    (error) => {
        console.log(`FAILED  ${error.stack}`);
        process.exit(1);
    },
);
