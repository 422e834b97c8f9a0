import { XosError } from '../core/errors.ts';
import { parseNodeId, parseUserName } from '../core/ids.ts';
import { node_roles, type NodeRole } from '../core/model.ts';
import { parseAttributes, type Attributes } from '../overlay/service/attributes.ts';
import type { TopicRule } from '../overlay/pubsub/access.ts';
import type { SitePolicy } from '../session/policy.ts';

/** /etc/xos/node.json, read once at start. */
export interface NodeConfig {
  readonly node: string;
  /** How the other nodes reach this one. */
  readonly address: string;
  /** Port of xosd; the native services follow at port_offset. Default 7001. */
  readonly port: number;
  /** Address to listen on. Default: all. */
  readonly listen: string;
  /** Port of 127.0.0.1 where Prometheus finds /metrics; 0: none. Default: port + 4. */
  readonly metrics: number | null;
  readonly roles: readonly NodeRole[];
  /** Join token of 'xvo node invite'; not needed any more once the node has joined. */
  readonly join: string | null;
  readonly log: 'debug' | 'info' | 'warn' | 'error';
  readonly supervisor: 'runit' | 'systemd' | 'none' | 'auto';
  readonly policy: SitePolicy;
  /** What this node is besides what it finds out itself: for queries. */
  readonly attributes: Attributes;
  /** Who may publish and subscribe where, before the rules of the VO. */
  readonly topics: readonly TopicRule[];
}

type Reader<T> = (value: unknown, what: string) => T;

const wrong = (what: string, rule: string, value: unknown): XosError =>
  new XosError('XOS_CONFIG', `cannot use the configuration: ${what} must be ${rule}, not ${(JSON.stringify(value) ?? 'missing').slice(0, 100)}`, { what });

const text = (pattern: RegExp, rule: string): Reader<string> => (value, what) => {
  if (typeof value === 'string' && pattern.test(value)) return value;
  throw wrong(what, rule, value);
};
const oneOf = <T extends string>(...choices: readonly T[]): Reader<T> => (value, what) => {
  if (choices.includes(value as T)) return value as T;
  throw wrong(what, `one of ${choices.join(', ')}`, value);
};
const boolean: Reader<boolean> = (value, what) => {
  if (typeof value === 'boolean') return value;
  throw wrong(what, 'true or false', value);
};
const hours: Reader<number> = (value, what) => {
  if (typeof value === 'number' && value >= 0 && value <= 168) return value;
  throw wrong(what, 'a number of hours from 0 (never) to 168', value);
};
const port: Reader<number> = (value, what) => {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65_530) return value as number;
  throw wrong(what, 'a port from 1 to 65530', value);
};
const portOrNone: Reader<number> = (value, what) => (value === 0 ? 0 : port(value, what));
const listOf = <T>(one: Reader<T>): Reader<readonly T[]> => (value, what) => {
  if (!Array.isArray(value)) throw wrong(what, 'a list', value);
  return [...new Set(value.map((each, index) => one(each, `${what}[${index}]`)))];
};
const named = (parse: (value: unknown) => string): Reader<string> => (value, what) => {
  try {
    return parse(value);
  } catch (cause) {
    throw new XosError('XOS_CONFIG', `cannot use the configuration: ${what}: ${(cause as Error).message}`, { what }, { cause });
  }
};

/** Reads the fields that `readers` names; `defaults` says which may be missing. Unknown fields are refused: they are typing errors. */
function readObject<T extends object>(value: unknown, what: string, readers: { readonly [K in keyof T]: Reader<T[K]> }, defaults: Partial<T>): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(what, 'an object', value);
  const known = Object.keys(readers) as (keyof T & string)[];
  for (const key of Object.keys(value)) {
    if (!(known as string[]).includes(key)) throw new XosError('XOS_CONFIG', `cannot use the configuration: ${what} has no field '${key}'; it may have ${known.join(', ')}`, { what });
  }
  const fields = value as Partial<Record<keyof T, unknown>>;
  return Object.fromEntries(known.map((key) => [key, fields[key] === undefined && key in defaults ? defaults[key] : readers[key](fields[key], `'${key}'`)])) as T;
}

const default_policy: SitePolicy = { deny: [], kill_on_logout: false, offline_hours_max: 168, homes: 'volume' };
const readPolicy: Reader<SitePolicy> = (value, what) =>
  readObject<SitePolicy>(value, what, { deny: listOf(named(parseUserName)), kill_on_logout: boolean, offline_hours_max: hours, homes: oneOf('volume', 'local') }, default_policy);

const topic_who = text(/^(?:nodes|members|own|(?:role|user):[a-z_][a-z0-9_.-]{0,30})$/, 'nodes, members, own, role:NAME or user:NAME');
const readTopicRule: Reader<TopicRule> = (value, what) =>
  readObject<TopicRule>(value, what, { pattern: text(/^[^\s]{1,512}$/, 'a topic pattern such as demo/site/#'), publish: listOf(topic_who), subscribe: listOf(topic_who) }, { publish: [], subscribe: [] });

/** Throws XOS_CONFIG with what is wrong and what would be right. */
export function parseConfig(source: string): NodeConfig {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw new XosError('XOS_CONFIG', `cannot use the configuration: it is not JSON: ${(cause as Error).message}`, {}, { cause });
  }
  return readObject<NodeConfig>(
    value,
    'the configuration',
    {
      node: named(parseNodeId),
      address: text(/^[A-Za-z0-9.:_-]{1,255}$/, 'a host name or an IP address'),
      port,
      listen: text(/^[0-9A-Fa-f.:]{1,64}$/, 'an IP address'),
      metrics: portOrNone,
      roles: listOf(oneOf(...node_roles)),
      join: text(/^xos1\./, "a join token of 'xvo node invite' (it begins with xos1.)"),
      log: oneOf('debug', 'info', 'warn', 'error'),
      supervisor: oneOf('runit', 'systemd', 'none', 'auto'),
      policy: readPolicy,
      attributes: parseAttributes,
      topics: listOf(readTopicRule),
    },
    { attributes: {}, topics: [], metrics: null, port: 7001, listen: '0.0.0.0', join: null, log: 'info', supervisor: 'auto', policy: default_policy },
  );
}
