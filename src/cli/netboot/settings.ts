import { isIPv4 } from 'node:net';
import { XosError, describe } from '../../core/errors.ts';
import { parseNodeId } from '../../core/ids.ts';
import type { Disk } from '../../core/ports.ts';

/** /etc/xos/netboot.json: the network on which this head boots nodes, and which machines it boots. */
export interface NetbootSettings {
  /** Interface of the boot network; nothing is offered on any other. */
  readonly interface: string;
  /** This head's address there, IPv4. */
  readonly address: string;
  /** First and last address for nodes. */
  readonly range: readonly [string, string];
  /** Folder with linux, initrd and cmdline: an unpacked cluster image. */
  readonly image: string;
  /** MAC (small letters) → node id. Only these machines are booted, and those that `any` lets in. */
  readonly nodes: Readonly<Record<string, string>>;
  /** How many machines that nobody listed are taken in, each under the next free name c1, c2, …; 0: none. */
  readonly any: number;
  /** Roles of the nodes. */
  readonly roles: readonly string[];
}

export const settings_path = '/etc/xos/netboot.json';
export const http_port = 7080;
export const default_image = '/srv/xos/netboot';
/** No object server by default: what it held would be gone with the power. */
const default_roles = ['relay', 'mount'];
const mac_pattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Small letters and colons; throws XOS_BAD_ARGUMENT. */
export function parseMac(text: string): string {
  const mac = text.toLowerCase().replaceAll('-', ':');
  if (!mac_pattern.test(mac)) throw new XosError('XOS_BAD_ARGUMENT', `'${text}' is no MAC address; write it as 52:54:00:12:34:56`);
  return mac;
}

/** The middle of a /24 around the head: .100 to .250. */
export function defaultRange(address: string): readonly [string, string] {
  const net = address.split('.').slice(0, 3).join('.');
  return [`${net}.100`, `${net}.250`];
}

/** Checks every field: they go into the configuration of dnsmasq. Throws XOS_CONFIG. */
export function parseSettings(text: string): NetbootSettings {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof NetbootSettings, unknown>>;
    const address = checked('address', value.address, (each) => typeof each === 'string' && isIPv4(each), 'an IPv4 address');
    const range = value.range ?? defaultRange(address as string);
    const nodes = Object.entries((value.nodes ?? {}) as Record<string, string>).map(([mac, node]) => [parseMac(mac), parseNodeId(node)] as const);
    const names = nodes.map(([, node]) => node);
    if (new Set(names).size !== names.length) throw new Error('two machines have the same node id');
    return {
      interface: checked('interface', value.interface, (each) => typeof each === 'string' && /^[A-Za-z0-9_.-]{1,15}$/.test(each), 'the name of a network interface') as string,
      address: address as string,
      range: checked('range', range, (each) => Array.isArray(each) && each.length === 2 && each.every((one) => typeof one === 'string' && isIPv4(one)), 'two IPv4 addresses') as [string, string],
      image: checked('image', value.image ?? default_image, (each) => typeof each === 'string' && /^\/[A-Za-z0-9_./-]*$/.test(each), 'a folder without blanks') as string,
      nodes: Object.fromEntries(nodes),
      any: checked('any', value.any ?? 0, (each) => Number.isInteger(each) && (each as number) >= 0 && (each as number) <= 4096, 'a number up to 4096') as number,
      roles: checked('roles', value.roles ?? default_roles, (each) => Array.isArray(each) && each.every((one) => typeof one === 'string' && /^[a-z]+$/.test(one)), 'a list of roles') as string[],
    };
  } catch (cause) {
    throw new XosError('XOS_CONFIG', `cannot use '${settings_path}': ${describe(cause)}`, {}, { cause });
  }
}

function checked(name: string, value: unknown, holds: (value: unknown) => boolean, rule: string): unknown {
  if (holds(value)) return value;
  throw new Error(`'${name}' must be ${rule}, not ${(JSON.stringify(value) ?? 'missing').slice(0, 80)}`);
}

export async function readSettings(disk: Disk, path: string = settings_path): Promise<NetbootSettings | null> {
  const text = await disk.read(path);
  return text === null ? null : parseSettings(text.toString('utf8'));
}
