import { XosError } from './errors.ts';

/**
 * Names and ids. Every name that comes from outside passes one of these parsers once, at the border; behind it a string of that
 * kind is known to be safe in a path, a URI, a passwd(5) line and a certificate.
 */
const vo_pattern = /^[a-z][a-z0-9-]{0,30}$/;
const user_pattern = /^[a-z_][a-z0-9_.-]{0,30}$/;
const node_pattern = /^[a-z][a-z0-9-]{0,62}$/;
const role_pattern = /^[a-z][a-z0-9-]{0,30}$/;
const session_pattern = /^[0-9a-f]{32}$/;
const job_pattern = /^([a-z][a-z0-9-]{0,62})-([0-9]{1,15})$/;

function checked(kind: string, pattern: RegExp, rule: string, value: unknown): string {
  if (typeof value === 'string' && pattern.test(value)) return value;
  const shown = typeof value === 'string' ? value.slice(0, 80) : typeof value;
  throw new XosError('XOS_BAD_NAME', `${kind} '${shown}' is not valid: ${rule}`, { kind });
}

const lower = (first: string, rest: string, most: number): string => `${first} first, then ${rest}, at most ${most} characters`;

export const parseVoName = (value: unknown): string => checked('VO name', vo_pattern, lower('a small letter', 'small letters, digits and "-"', 31), value);
export const parseUserName = (value: unknown): string => checked('user name', user_pattern, lower('a small letter or "_"', 'small letters, digits, "_", "." and "-"', 31), value);
export const parseNodeId = (value: unknown): string => checked('node id', node_pattern, lower('a small letter', 'small letters, digits and "-"', 63), value);
export const parseRole = (value: unknown): string => checked('role', role_pattern, lower('a small letter', 'small letters, digits and "-"', 31), value);
export const parseSessionId = (value: unknown): string => checked('session id', session_pattern, '32 hexadecimal digits', value);

export interface QualifiedUser {
  readonly user: string;
  readonly vo: string;
}

/** `alice@demo` → {user, vo}; throws XOS_BAD_NAME. */
export function parseQualifiedUser(value: unknown): QualifiedUser {
  if (typeof value !== 'string') throw new XosError('XOS_BAD_NAME', `grid user '${typeof value}' is not valid: write it as user@vo`);
  const at = value.indexOf('@');
  if (at < 0) throw new XosError('XOS_BAD_NAME', `grid user '${value.slice(0, 80)}' is not valid: write it as user@vo`);
  return { user: parseUserName(value.slice(0, at)), vo: parseVoName(value.slice(at + 1)) };
}

export interface JobId {
  readonly home: string;
  readonly number: number;
}

/** `n1-42` → {home: 'n1', number: 42}; throws XOS_BAD_NAME. */
export function parseJobId(value: unknown): JobId {
  const match = typeof value === 'string' ? job_pattern.exec(value) : null;
  if (match === null) throw new XosError('XOS_BAD_NAME', `job id '${String(value).slice(0, 80)}' is not valid: write it as node-number, for instance n1-42`);
  return { home: match[1]!, number: Number(match[2]) };
}

export const nodeUri = (vo: string, node: string): string => `xos://${vo}/node/${node}`;
export const userUri = (vo: string, user: string): string => `xos://${vo}/user/${user}`;
export const registryUri = (vo: string): string => `xos://${vo}/registry`;
/** The name in a node certificate by which a caller proves that it reached this node and no other one of the VO. */
export const nodeHost = (vo: string, node: string): string => `${node}.${vo}.xos`;

export interface ParsedUri {
  readonly vo: string;
  readonly kind: 'node' | 'user' | 'registry';
  readonly name: string;
}

/** Parses a SAN URI of ours; null when it is none. */
export function parseUri(uri: string): ParsedUri | null {
  const match = /^xos:\/\/([a-z0-9-]+)\/(node|user|registry)(?:\/([a-z0-9_.-]+))?$/.exec(uri);
  if (match === null) return null;
  const [, vo, kind, name = ''] = match;
  const named = kind === 'registry' ? name === '' : kind === 'node' ? node_pattern.test(name) : user_pattern.test(name);
  return named && vo_pattern.test(vo!) ? { vo: vo!, kind: kind as ParsedUri['kind'], name } : null;
}
