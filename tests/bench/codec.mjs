// Measures mqtt-packet on the mix that bench_codec names: arguments weight:hex. Prints packets/s encoded and decoded.
import { createRequire } from 'node:module';

const mqtt = createRequire(new URL('../oracle/package.json', import.meta.url))('mqtt-packet');
const options = { protocolVersion: 5 };
const mix = [];
for (const argument of process.argv.slice(2)) {
  const [weight, hex] = argument.split(':');
  for (let i = 0; i < Number(weight); i++) mix.push(Buffer.from(hex, 'hex'));
}
for (let i = mix.length - 1, seed = 1; i > 0; i--) { // a fixed shuffle
  seed = (seed * 1103515245 + 12345) % 2147483648;
  const j = seed % (i + 1);
  [mix[i], mix[j]] = [mix[j], mix[i]];
}

const packets = [];
const collector = mqtt.parser(options);
collector.on('packet', (packet) => packets.push(packet));
collector.on('error', (error) => { throw error; });
for (const bytes of mix) collector.parse(bytes);
if (packets.length !== mix.length) throw new Error('mqtt-packet did not take the mix');

function rate(round) {
  for (let i = 0; i < 5; i++) round(); // let the compiler warm up
  const start = process.hrtime.bigint();
  let done = 0, passed = 0n;
  while (passed < 1000000000n) {
    round();
    done += mix.length;
    passed = process.hrtime.bigint() - start;
  }
  return done / (Number(passed) / 1e9);
}

let seen = 0, bytes = 0;
const parser = mqtt.parser(options);
parser.on('packet', () => seen++);
const decode = rate(() => { for (const one of mix) parser.parse(one); });
const encode = rate(() => { for (const packet of packets) bytes += mqtt.generate(packet, options).length; });
if (!seen || !bytes) throw new Error('nothing was measured');
console.log(`${encode.toFixed(0)} ${decode.toFixed(0)}`);
