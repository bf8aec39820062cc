// MQTT.js (v5) lets itself in by SCRAM-SHA-256, calculated here with Node's own cryptography (RFC 5802, RFC 7677), and again without reconnecting.
// usage: node cloud_scram.js mqtt://host:port USER PASSWORD
'use strict';
const { createHash, createHmac, pbkdf2Sync, randomBytes } = require('crypto');
const { mqtt, url, step, failures } = require('./common');
const [user, password] = process.argv.slice(3);

const METHOD = 'SCRAM-SHA-256';
const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
const fields = (text) => Object.fromEntries(text.split(',').map((field) => [field[0], field.slice(2)]));

class Exchange {
    constructor(secret) {
        this.secret = secret;
        this.nonce = randomBytes(18).toString('base64');
        this.bare = `n=${user},r=${this.nonce}`;
        this.first = Buffer.from(`n,,${this.bare}`);
    }

    proof(challenge) {
        const { r, s, i } = fields(challenge.toString());
        if (!r.startsWith(this.nonce) || Number(i) < 4096) throw new Error(`not a challenge: ${challenge}`);
        const salted = pbkdf2Sync(this.secret, Buffer.from(s, 'base64'), Number(i), 32, 'sha256');
        const clientKey = hmac(salted, 'Client Key');
        const last = `c=biws,r=${r}`, whole = `${this.bare},${challenge},${last}`;
        const signature = hmac(createHash('sha256').update(clientKey).digest(), whole);
        this.wanted = `v=${hmac(hmac(salted, 'Server Key'), whole).toString('base64')}`;
        return Buffer.from(`${last},p=${clientKey.map((byte, at) => byte ^ signature[at]).toString('base64')}`);
    }
}

// A client that tells how it was let in, or why not.
function enter(secret) {
    const exchange = new Exchange(secret);
    const client = mqtt.connect(url, {
        protocolVersion: 5, reconnectPeriod: 0, clientId: `js-${exchange.nonce.slice(0, 6)}`,
        properties: { authenticationMethod: METHOD, authenticationData: exchange.first },
    });
    client.exchange = exchange;
    client.handleAuth = (packet, done) => {
        if (packet.reasonCode === 0) {
            client.emit('again', packet.properties.authenticationData.toString());
            return done();
        }
        done(null, {
            cmd: 'auth', reasonCode: 24,
            properties: { authenticationMethod: METHOD, authenticationData: client.exchange.proof(packet.properties.authenticationData) },
        });
    };
    return new Promise((resolve, reject) => {
        client.once('connect', (connack) => resolve({ client, connack }));
        client.once('error', (error) => client.end(true, () => reject(error)));
        client.once('close', () => reject(new Error('closed')));
    });
}

async function main() {
    let client;
    await step('who knows the password gets in, and the cloud shows that it knows it, too', async () => {
        const entered = await enter(password);
        client = entered.client;
        const { authenticationMethod, authenticationData } = entered.connack.properties;
        const good = authenticationMethod === METHOD && authenticationData.toString() === client.exchange.wanted;
        return good ? '' : JSON.stringify(entered.connack);
    });
    await step('it publishes and subscribes', async () => {
        const got = new Promise((resolve) => client.once('message', (topic, payload) => resolve(payload.toString())));
        await client.subscribeAsync('js/scram', { qos: 1 });
        await client.publishAsync('js/scram', 'in', { qos: 1 });
        return (await got) === 'in' ? '' : 'another message';
    });
    await step('it shows it again, on the same connection', async () => {
        const said = new Promise((resolve, reject) => {
            client.once('again', resolve);
            client.once('close', () => reject(new Error('closed')));
        });
        client.exchange = new Exchange(password);
        client._sendPacket({
            cmd: 'auth', reasonCode: 25, properties: { authenticationMethod: METHOD, authenticationData: client.exchange.first },
        });
        return (await said) === client.exchange.wanted ? '' : 'the cloud does not know the password';
    });
    await step('who does not know it is refused', async () => {
        try {
            await enter(`${password}!`);
        } catch (error) {
            return error.code === 0x87 ? '' : error.message;
        }
        return 'is let in';
    });
    await step('who fails to show it again goes', async () => {
        const closed = new Promise((resolve) => client.once('disconnect', (packet) => resolve(packet.reasonCode)));
        client.exchange = new Exchange('guess');
        client._sendPacket({
            cmd: 'auth', reasonCode: 25, properties: { authenticationMethod: METHOD, authenticationData: client.exchange.first },
        });
        const code = await closed;
        return code === 0x87 ? '' : `reason ${code}`;
    });
    client.end(true);
    process.exit(failures() ? 1 : 0);
}

main();
