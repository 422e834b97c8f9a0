/** A place on the network as policies write it: `10.0.0.0/8`, `192.0.2.7:443`, `[2001:db8::/32]:80-90`, `*:25`. No names: they would be asked for on another's network. */
export interface NetworkRule {
  /** In one way of writing; safe in a rule of nft(8). */
  readonly text: string;
  readonly family: 'ip' | 'ip6' | null;
  /** `10.0.0.0/8`; null for everywhere. */
  readonly address: string | null;
  /** `25` or `6000-6063`; null for all ports and protocols. */
  readonly ports: string | null;
}

/** null when it is not valid. */
export function parseNetwork(text: string): NetworkRule | null {
  const match = /^(?:(\*)|([0-9.]+(?:\/[0-9]{1,2})?)|\[([0-9a-fA-F:.]+)\](\/[0-9]{1,3})?|\[([0-9a-fA-F:.]+\/[0-9]{1,3})\])(?::([0-9]{1,5})(?:-([0-9]{1,5}))?)?$/.exec(text);
  if (match === null) return null;
  const [, any, four, six, bits, whole, first, last] = match;
  const ports = readPorts(first, last);
  if (ports === undefined || (any !== undefined && ports === null)) return null;
  if (any !== undefined) return { text: `*:${ports}`, family: null, address: null, ports };
  const tail = ports === null ? '' : `:${ports}`;
  if (four !== undefined) return isAddress4(four) ? { text: `${four}${tail}`, family: 'ip', address: four, ports } : null;
  const address = (whole ?? `${six}${bits ?? ''}`).toLowerCase();
  return isAddress6(address) ? { text: `[${address}]${tail}`, family: 'ip6', address, ports } : null;
}

/** undefined when they are wrong. */
function readPorts(first: string | undefined, last: string | undefined): string | null | undefined {
  if (first === undefined) return null;
  const [from, to] = [Number(first), Number(last ?? first)];
  if (from < 1 || to > 65_535 || from > to) return undefined;
  return from === to ? String(from) : `${from}-${to}`;
}

function isAddress4(text: string): boolean {
  const [address, bits = '32'] = text.split('/') as [string, string?];
  const parts = address.split('.');
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255) && Number(bits) <= 32;
}

function isAddress6(text: string): boolean {
  const [address, bits = '128'] = text.split('/') as [string, string?];
  try {
    return address.includes(':') && Number(bits) <= 128 && new URL(`http://[${address}]/`).hostname.startsWith('[');
  } catch {
    return false;
  }
}
