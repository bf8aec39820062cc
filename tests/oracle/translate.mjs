// Between our canonical JSON (packet_json.h) and mqtt-packet's objects.

const FLAGS = ['payloadFormatIndicator', 'requestProblemInformation', 'requestResponseInformation', 'retainAvailable',
  'wildcardSubscriptionAvailable', 'subscriptionIdentifiersAvailable', 'sharedSubscriptionAvailable'];
const BINARY = ['correlationData', 'authenticationData'];

const list = (value) => Array.isArray(value) ? value : [value];

/** User properties by name: mqtt-packet keeps no order across names. */
export function grouped(pairs) {
  const groups = new Map();
  for (const [name, value] of pairs) groups.set(name, [...(groups.get(name) ?? []), value]);
  return [...groups].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}

function propertiesFrom(theirs) {
  const ours = {};
  for (const [name, value] of Object.entries(theirs ?? {})) {
    if (name === 'userProperties')
      ours[name] = Object.entries(value).flatMap(([key, values]) => list(values).map((one) => [key, one]));
    else if (name === 'subscriptionIdentifier') ours.subscriptionIdentifiers = list(value);
    else if (FLAGS.includes(name)) ours[name] = value ? 1 : 0;
    else if (BINARY.includes(name)) ours[name] = value.toString('hex');
    else ours[name] = value;
  }
  return ours;
}

function propertiesTo(ours) {
  if (!ours) return undefined;
  const theirs = {};
  for (const [name, value] of Object.entries(ours)) {
    if (name === 'userProperties') {
      theirs[name] = Object.create(null);
      for (const [key, values] of grouped(value)) theirs[name][key] = values.length > 1 ? values : values[0];
    } else if (name === 'subscriptionIdentifiers') theirs.subscriptionIdentifier = value.length > 1 ? value : value[0];
    else if (FLAGS.includes(name)) theirs[name] = value === 1;
    else if (BINARY.includes(name)) theirs[name] = Buffer.from(value, 'hex');
    else theirs[name] = value;
  }
  return theirs;
}

const withProperties = (ours, theirs) => {
  const properties = propertiesFrom(theirs.properties);
  return Object.keys(properties).length ? { ...ours, properties } : ours;
};

/** mqtt-packet's object in our form. */
export function fromTheirs(p, version) {
  const type = p.cmd;
  switch (type) {
    case 'connect': {
      const out = withProperties({ type, version: p.protocolVersion, cleanStart: p.clean, keepAlive: p.keepalive, clientId: p.clientId }, p);
      if (p.will)
        out.will = withProperties({ qos: p.will.qos, retain: p.will.retain, topic: p.will.topic, payload: p.will.payload.toString('hex') }, p.will);
      if (p.username !== undefined) out.userName = p.username;
      if (p.password !== undefined) out.password = p.password.toString('hex');
      return out;
    }
    case 'connack':
      return withProperties({ type, sessionPresent: p.sessionPresent, reason: version === 5 ? p.reasonCode : p.returnCode }, p);
    case 'publish': {
      const out = withProperties({ type, qos: p.qos, dup: p.dup, retain: p.retain, topic: p.topic, payload: p.payload.toString('hex') }, p);
      if (p.qos) out.id = p.messageId;
      return out;
    }
    case 'puback': case 'pubrec': case 'pubrel': case 'pubcomp':
      return withProperties({ type, id: p.messageId, reason: p.reasonCode ?? 0 }, p);
    case 'subscribe':
      return withProperties({ type, id: p.messageId, filters: p.subscriptions.map((s) => ({ filter: s.topic, qos: s.qos,
        noLocal: s.nl ?? false, retainAsPublished: s.rap ?? false, retainHandling: s.rh ?? 0 })) }, p);
    case 'unsubscribe': return withProperties({ type, id: p.messageId, filters: p.unsubscriptions }, p);
    case 'suback': case 'unsuback': return withProperties({ type, id: p.messageId, reasons: p.granted ?? [] }, p);
    case 'disconnect': case 'auth': return withProperties({ type, reason: p.reasonCode ?? 0 }, p);
    default: return { type };
  }
}

/** Our form as an object that mqtt-packet generates from. */
export function toTheirs(o, version) {
  const base = { cmd: o.type, properties: propertiesTo(o.properties), messageId: o.id };
  switch (o.type) {
    case 'connect':
      return { ...base, protocolId: 'MQTT', protocolVersion: o.version, clean: o.cleanStart, keepalive: o.keepAlive,
        clientId: o.clientId, username: o.userName, password: o.password === undefined ? undefined : Buffer.from(o.password, 'hex'),
        will: o.will && { ...o.will, payload: Buffer.from(o.will.payload, 'hex'), properties: propertiesTo(o.will.properties) } };
    case 'connack': return { ...base, sessionPresent: o.sessionPresent, reasonCode: o.reason, returnCode: o.reason };
    case 'publish': return { ...base, qos: o.qos, dup: o.dup, retain: o.retain, topic: o.topic, payload: Buffer.from(o.payload, 'hex') };
    case 'subscribe':
      return { ...base, subscriptions: o.filters.map((f) => ({ topic: f.filter, qos: f.qos, nl: f.noLocal, rap: f.retainAsPublished, rh: f.retainHandling })) };
    case 'unsubscribe': return { ...base, unsubscriptions: o.filters };
    case 'suback': case 'unsuback': return { ...base, granted: o.reasons };
    default: return { ...base, reasonCode: o.reason };
  }
}

/** One text for equal packets, whatever the order of keys and of differently named user properties. */
export function comparable(value, key) {
  if (key === 'userProperties') return JSON.stringify(grouped(value));
  if (Array.isArray(value)) return `[${value.map((one) => comparable(one)).join()}]`;
  if (value && typeof value === 'object')
    return `{${Object.keys(value).sort().map((name) => `${name}:${comparable(value[name], name)}`).join()}}`;
  return JSON.stringify(value);
}
