import { XosError } from '../core/errors.ts';

/**
 * The little of DER (X.690) that is needed to read an extension of a certificate, which node:crypto does not give, and to write
 * certificate requests and the certificates of users. Reading is strict: lengths are definite, minimal and inside their parent.
 */
export interface Tlv {
  readonly tag: number;
  readonly value: Buffer;
  /** Tag, length and value. */
  readonly whole: Buffer;
}

const malformed = (why: string): XosError => new XosError('XOS_MALFORMED', `cannot read DER: ${why}`);

export function readTlv(data: Buffer, offset = 0): Tlv {
  if (offset + 2 > data.length) throw malformed('it ends too early');
  const tag = data[offset]!;
  if ((tag & 0x1f) === 0x1f) throw malformed('tags above 30 are not used here');
  let length = data[offset + 1]!;
  let start = offset + 2;
  if (length >= 0x80) {
    const count = length & 0x7f;
    if (count === 0 || count > 4 || start + count > data.length) throw malformed('a length is not definite');
    length = data.readUIntBE(start, count);
    if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) throw malformed('a length is not minimal');
    start += count;
  }
  if (start + length > data.length) throw malformed('a length leaves its parent');
  return { tag, value: data.subarray(start, start + length), whole: data.subarray(offset, start + length) };
}

export function readChildren(value: Buffer): readonly Tlv[] {
  const children: Tlv[] = [];
  for (let offset = 0; offset < value.length; ) {
    const child = readTlv(value, offset);
    children.push(child);
    offset += child.whole.length;
  }
  return children;
}

export function writeTlv(tag: number, ...values: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(values);
  if (value.length < 0x80) return Buffer.concat([Buffer.from([tag, value.length]), value]);
  const length: number[] = [];
  for (let rest = value.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), value]);
}

export const tag = { boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, printable: 0x13, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31 } as const;

/** Dotted form → content octets. Arcs may be larger than 2^53 (2.25.UUID). */
export function encodeOid(dotted: string): Buffer {
  const arcs = dotted.split('.').map(BigInt);
  const [first = 0n, second = 0n, ...rest] = arcs;
  return Buffer.from([first * 40n + second, ...rest].flatMap((arc) => {
    const digits = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) digits.unshift(Number(left & 0x7fn) | 0x80);
    return digits;
  }));
}

export interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

/** Extensions of a certificate (RFC 5280, 4.1) by the hexadecimal of their OID; throws on one that is there twice. */
export function certificateExtensions(raw: Buffer): ReadonlyMap<string, Extension> {
  const [tbs] = readChildren(readTlv(raw).value);
  const found = new Map<string, Extension>();
  const holder = readChildren(tbs?.value ?? Buffer.alloc(0)).find((child) => child.tag === 0xa3);
  if (holder === undefined) return found;
  for (const extension of readChildren(readTlv(holder.value).value)) {
    const parts = readChildren(extension.value);
    const [oid, second] = parts;
    const value = parts.at(-1);
    if (oid?.tag !== tag.oid || value?.tag !== tag.octets || parts.length > 3) throw malformed('an extension is not well-formed');
    const key = oid.value.toString('hex');
    if (found.has(key)) throw malformed('an extension is there twice');
    found.set(key, { critical: second?.tag === tag.boolean && second.value[0] !== 0, value: value.value });
  }
  return found;
}
