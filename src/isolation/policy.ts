import { XosError } from '../core/errors.ts';
import { formatBytes, gib, kib, mib } from '../core/units.ts';
import { parseNetwork } from './network.ts';

/**
 * What a VO may use on a node, and what its jobs see of it. Two sides say something: the VO, in its signed membership document, and the owner of
 * the node, in /etc/xos/site.json. Of both wishes the narrower one holds, so the site has the last word and a VO can bind itself. Pure.
 */
export const policy_keys = [
  'cpu.weight', 'cpu.max', 'memory.high', 'memory.max', 'pids.max', 'io.weight', 'io.read.max', 'io.write.max',
  'network', 'isolated', 'trust', 'devices', 'firewall.allow', 'firewall.deny', 'protect', 'node.mtbf',
] as const;
export type PolicyKey = (typeof policy_keys)[number];

/** One side's wishes: key → its text as in `xvo policy set`. What is missing is left to the other side. */
export type Policy = Readonly<Partial<Record<PolicyKey, string>>>;

interface Rule {
  /** For `xvo policy show` and the manual. */
  readonly summary: string;
  readonly rule: string;
  /** The text in its one way of writing, or null when it is not valid. */
  readonly read: (text: string) => string | null;
  /** The narrower one of two texts that `read` gave; null for those that add up (see `merge`). */
  readonly narrower: ((a: string, b: string) => string) | null;
  /** When nobody says anything. */
  readonly fallback: string;
}

const units: Readonly<Record<string, number>> = { '': 1, K: kib, M: mib, G: gib, T: 1024 * gib };

/** `max` or a number of bytes with K, M, G or T; null when it is neither. */
function readBytes(text: string): string | null {
  if (text === 'max') return text;
  const match = /^([0-9]{1,15})([KMGT]?)$/.exec(text);
  const bytes = match === null ? 0 : Number(match[1]) * units[match[2]!]!;
  return Number.isSafeInteger(bytes) && bytes >= 4 * kib ? String(bytes) : null;
}

const number = (least: number, most: number) => (text: string): string | null =>
  /^[0-9]{1,10}$/.test(text) && Number(text) >= least && Number(text) <= most ? String(Number(text)) : null;
const orMax = (read: (text: string) => string | null) => (text: string): string | null => (text === 'max' ? text : read(text));
const size = (text: string): number => (text === 'max' ? Infinity : Number.parseInt(text, 10));
const least = (a: string, b: string): string => (size(a) <= size(b) ? a : b);
/** One of `words`, the widest first. */
const words = (...list: readonly string[]): Pick<Rule, 'read' | 'narrower' | 'rule'> => ({
  read: (text) => (list.includes(text) ? text : null),
  narrower: (a, b) => (list.indexOf(a) >= list.indexOf(b) ? a : b),
  rule: list.join(' or '),
});
const bytes = { read: readBytes, narrower: least, rule: "a size such as 512M or 4G (4K at least), or 'max'" } as const;
const weight = { read: number(1, 10_000), narrower: least, rule: 'a number from 1 to 10000' } as const;
const networks = {
  rule: "networks and ports such as 10.0.0.0/8, 192.0.2.7:443, [2001:db8::]/32, *:25 or *:6000-6063, separated by spaces or commas, or 'none'",
  narrower: null,
  read: (text: string) => {
    if (text === 'none') return '';
    const list = text.split(/[\s,]+/).filter((each) => each !== '');
    if (list.length === 0 || list.length > 64) return null;
    const parsed = list.map((each) => parseNetwork(each)?.text ?? null);
    return parsed.includes(null) ? null : [...new Set(parsed)].join(' ');
  },
} as const;

export const policy_rules: Readonly<Record<PolicyKey, Rule>> = {
  'cpu.weight': { ...weight, fallback: '100', summary: 'share of the processors, beside the other VOs of the node' },
  'cpu.max': {
    summary: 'most processor time', fallback: 'max', rule: "a percentage of one CPU such as 150%, or 'max'", narrower: least,
    read: orMax((text) => (/^[0-9]{1,6}%$/.test(text) && Number.parseInt(text, 10) >= 1 ? `${Number.parseInt(text, 10)}%` : null)),
  },
  'memory.high': { ...bytes, fallback: 'max', summary: 'memory above which its programs are slowed down' },
  'memory.max': { ...bytes, fallback: 'max', summary: 'most memory; beyond it a program is killed' },
  'pids.max': { read: orMax(number(16, 4_000_000)), narrower: least, rule: "a number from 16, or 'max'", fallback: '8192', summary: 'most processes and threads' },
  'io.weight': { ...weight, fallback: '100', summary: 'share of the disks, where their scheduler knows weights' },
  'io.read.max': { ...bytes, fallback: 'max', summary: "most bytes a second read from the node's disk" },
  'io.write.max': { ...bytes, fallback: 'max', summary: "most bytes a second written to the node's disk" },
  network: {
    ...words('host', 'none'), fallback: 'host', summary: "the node's network, or none but loopback",
    rule: "host (the node's) or none (a network of the cell's own with loopback and nothing else); one of its own with a way out is not offered",
  },
  isolated: { ...words('no', 'yes'), fallback: 'no', summary: 'jobs see nothing of other users and VOs, and have no network' },
  trust: { ...words('trusted', 'untrusted'), fallback: 'trusted', summary: 'untrusted programs get fewer system calls, no setuid and few devices' },
  devices: { ...words('all', 'few'), fallback: 'all', summary: 'devices in /dev: all, or null, zero, full, random, urandom and terminals' },
  'firewall.allow': { ...networks, fallback: 'none', summary: 'where its programs may connect to; all when nothing is said' },
  'firewall.deny': { ...networks, fallback: 'none', summary: 'where its programs may not connect to' },
  protect: {
    summary: "whether checkpoints are taken of its jobs by themselves, and how often (xrun --protect)", fallback: 'no', rule: 'no, auto, or a time from 10s to 18h such as 90s, 5m, 2h',
    read: readProtect, narrower: (a, b) => (protectSeconds(a) >= protectSeconds(b) ? a : b),
  },
  'node.mtbf': { read: number(1, 1_000_000), narrower: least, rule: 'a number of hours from 1 to 1000000', fallback: '168', summary: 'hours between two failures of a node, for how often checkpoints are taken' },
};

/** As xrun reads it (native/relay/src/protect.h). */
function readProtect(text: string): string | null {
  if (text === 'no' || text === 'auto') return text;
  const match = /^([0-9]{1,5})([smh]?)$/.exec(text);
  const seconds = match === null ? 0 : Number(match[1]) * { s: 1, m: 60, h: 3600 }[(match[2] || 's') as 's' | 'm' | 'h'];
  return seconds >= 10 && seconds <= 65_534 ? `${seconds}s` : null;
}

/** Of two wishes the one with fewer checkpoints holds. */
function protectSeconds(text: string): number {
  if (text === 'no') return Infinity;
  return text === 'auto' ? 0 : Number.parseInt(text, 10);
}

export type Side = 'VO' | 'site' | 'default';

export interface Decided {
  /** In its one way of writing; of the firewall's lists what both sides say, as text. */
  readonly value: string;
  /** Who decided. `VO` also when the site says the same. */
  readonly by: Side;
  /** What the other side would have had; null when it said nothing or the same. */
  readonly instead_of: string | null;
}

export interface Effective {
  readonly values: Readonly<Record<PolicyKey, Decided>>;
  /** Each side's list of networks; null: it says nothing about that. */
  readonly allow: readonly (readonly string[])[];
  readonly deny: readonly string[];
}

const isKey = (key: string): key is PolicyKey => (policy_keys as readonly string[]).includes(key);

/** Checks one setting. Throws XOS_BAD_ARGUMENT with the rule. */
export function readSetting(key: string, text: unknown): { readonly key: PolicyKey; readonly value: string } {
  if (!isKey(key)) throw new XosError('XOS_BAD_ARGUMENT', `there is no policy '${key.slice(0, 80)}'; there are ${policy_keys.join(', ')}`, { key });
  const value = typeof text === 'string' ? policy_rules[key].read(text.trim()) : null;
  if (value === null) throw new XosError('XOS_BAD_ARGUMENT', `policy '${key}' cannot be '${String(text).slice(0, 80)}': it is ${policy_rules[key].rule}`, { key });
  return { key, value };
}

/** The settings of a document or file: what is not valid is left out and told to `refused` (an older node may read a newer VO's document). */
export function readPolicy(settings: Readonly<Record<string, unknown>>, refused: (reason: string) => void): Policy {
  const policy: Partial<Record<PolicyKey, string>> = {};
  for (const [name, text] of Object.entries(settings)) {
    try {
      // An empty list stands for `none` in a document that was read before.
      const { key, value } = readSetting(name, text === '' && name.startsWith('firewall.') ? 'none' : text);
      policy[key] = value;
    } catch (thrown) {
      refused((thrown as Error).message);
    }
  }
  return policy;
}

/** The narrower one of what both sides want, key by key. */
export function merge(vo: Policy, site: Policy): Effective {
  const values = Object.fromEntries(policy_keys.map((key) => [key, decide(key, vo[key], site[key])])) as Record<PolicyKey, Decided>;
  // An untrusted VO has few devices, and an isolated one no network, whatever is said about these alone.
  if (values.trust.value === 'untrusted' && values.devices.value === 'all') values.devices = { value: 'few', by: values.trust.by, instead_of: 'all' };
  if (values.isolated.value === 'yes' && values.network.value === 'host') values.network = { value: 'none', by: values.isolated.by, instead_of: 'host' };
  const lists = (key: 'firewall.allow' | 'firewall.deny'): (readonly string[])[] => [vo[key], site[key]].filter((list) => list !== undefined && list !== '').map((list) => list!.split(' '));
  return { values, allow: lists('firewall.allow'), deny: [...new Set(lists('firewall.deny').flat())] };
}

function decide(key: PolicyKey, vo: string | undefined, site: string | undefined): Decided {
  const { narrower, fallback } = policy_rules[key];
  if (narrower === null) return join(key, vo, site);
  if (vo === undefined && site === undefined) return { value: fallback, by: 'default', instead_of: null };
  if (vo === undefined || site === undefined || vo === site) return { value: (vo ?? site)!, by: vo === undefined ? 'site' : 'VO', instead_of: null };
  const value = narrower(vo, site);
  return value === site ? { value, by: 'site', instead_of: vo } : { value, by: 'VO', instead_of: site };
}

/** Lists of networks: what is denied adds up; to be allowed, both sides must say so. */
function join(key: PolicyKey, vo: string | undefined, site: string | undefined): Decided {
  const said = [vo, site].filter((list) => list !== undefined && list !== '') as string[];
  if (said.length === 0) return { value: 'none', by: 'default', instead_of: null };
  const value = key === 'firewall.deny' ? [...new Set(said.join(' ').split(' '))].join(' ') : [...new Set(said)].join(' and ');
  return { value, by: site !== undefined && site !== '' ? 'site' : 'VO', instead_of: null };
}

/** For people: `1.0 GiB`, `50 MiB/s`, `100`. */
export function showValue(key: PolicyKey, value: string): string {
  if (value === 'max' || value === '') return value === '' ? 'none' : value;
  if (key.startsWith('memory.')) return formatBytes(Number(value));
  return key === 'io.read.max' || key === 'io.write.max' ? `${formatBytes(Number(value))}/s` : value;
}
