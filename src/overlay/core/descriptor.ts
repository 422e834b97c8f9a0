import { parseNodeId, parseVoName } from '../../core/ids.ts';
import { hashText } from './random.ts';
import { limits } from './limits.ts';
import { Reader, WireError, Writer } from './wire.ts';

/** A static attribute of a node: a number in base units (bytes, hertz, counts), a text, or a set of texts (libraries, devices). */
export type AttributeValue = number | string | readonly string[];

/** Where a node is in the space of round trips (Vivaldi with height; milliseconds). `error` is relative, 1 is "no idea". */
export interface Coordinates {
  readonly x: number;
  readonly y: number;
  readonly height: number;
  readonly error: number;
}

/** What a node says of itself and everybody may pass on, since it is signed. */
export interface Descriptor {
  readonly node: string;
  readonly vos: readonly string[];
  /** `address:port`, best first. */
  readonly addresses: readonly string[];
  readonly sites: readonly string[];
  /** Grows with every issue, also over restarts (milliseconds since 1970, at least the last one + 1). The greatest epoch wins. */
  readonly epoch: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly coordinates: Coordinates;
  /** The node's certificate (DER), issued by the VO's node CA. */
  readonly certificate: Uint8Array;
}

const prefix = Buffer.from('xos-descriptor-v1\n');
const signature_bytes = 64;
const kinds_of_value = { number: 0, text: 1, set: 2 } as const;

/** Signs with the node's Ed25519 key. */
export type Sign = (bytes: Uint8Array) => Uint8Array;

/** Body and signature. Throws WireError('oversized') when a bound of limits.ts is passed. */
export function encodeDescriptor(descriptor: Descriptor, sign: Sign): Uint8Array {
  const writer = new Writer(null, limits.descriptor_bytes_max - signature_bytes);
  writer.text(descriptor.node);
  list(writer, descriptor.vos);
  list(writer, descriptor.addresses);
  list(writer, descriptor.sites);
  writer.u53(descriptor.epoch);
  const { x, y, height, error } = descriptor.coordinates;
  writer.f32(x).f32(y).f32(height).f32(error);
  const names = Object.keys(descriptor.attributes).sort();
  writer.u8(names.length);
  for (const name of names) attribute(writer, name, descriptor.attributes[name]!);
  writer.bytes(descriptor.certificate);
  const body = Buffer.from(writer.done());
  const encoded = Buffer.concat([body, sign(Buffer.concat([prefix, body]))]);
  decodeDescriptor(encoded);
  return encoded;
}

function list(writer: Writer, texts: readonly string[]): void {
  writer.u8(texts.length);
  for (const text of texts) writer.text(text);
}

function attribute(writer: Writer, name: string, value: AttributeValue): void {
  writer.text(name);
  if (typeof value === 'number') writer.u8(kinds_of_value.number).f64(value);
  else if (typeof value === 'string') writer.u8(kinds_of_value.text).text(value);
  else {
    writer.u8(kinds_of_value.set);
    list(writer, value);
  }
}

export interface DecodedDescriptor {
  readonly descriptor: Descriptor;
  /** What the signature covers. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** Checks the form and every bound; the signature is the verifier's. Throws WireError. */
export function decodeDescriptor(bytes: Uint8Array): DecodedDescriptor {
  if (bytes.length > limits.descriptor_bytes_max) throw new WireError('oversized', `a descriptor of ${bytes.length} bytes`);
  if (bytes.length < signature_bytes) throw new WireError('truncated', `a descriptor of ${bytes.length} bytes`);
  const body = bytes.subarray(0, bytes.length - signature_bytes);
  const reader = new Reader(body);
  const node = named(() => parseNodeId(reader.text(limits.name_bytes_max)));
  const vos = texts(reader, limits.vos_max, limits.name_bytes_max).map((vo) => named(() => parseVoName(vo)));
  const addresses = texts(reader, limits.addresses_max, limits.address_bytes_max);
  const sites = texts(reader, limits.sites_max, limits.name_bytes_max);
  const epoch = reader.u53();
  const coordinates = { x: reader.f32(), y: reader.f32(), height: reader.f32(), error: reader.f32() };
  const attributes = readAttributes(reader);
  const certificate = reader.bytes(limits.certificate_bytes_max);
  reader.end();
  return {
    descriptor: { node, vos, addresses, sites, epoch, attributes, coordinates, certificate },
    signed: Buffer.concat([prefix, body]), signature: Buffer.from(bytes.subarray(bytes.length - signature_bytes)),
  };
}

function named(parse: () => string): string {
  try {
    return parse();
  } catch (cause) {
    throw cause instanceof WireError ? cause : new WireError('malformed', 'a name that is none');
  }
}

function texts(reader: Reader, count_max: number, bytes_max: number): string[] {
  const count = reader.u8();
  if (count > count_max) throw new WireError('oversized', `a list of ${count}, ${count_max} are allowed`);
  return Array.from({ length: count }, () => reader.text(bytes_max));
}

const name_pattern = /^[a-z][a-z0-9_.-]*$/;

function readAttributes(reader: Reader): Record<string, AttributeValue> {
  const count = reader.u8();
  if (count > limits.attributes_max) throw new WireError('oversized', `${count} attributes, ${limits.attributes_max} are allowed`);
  const attributes: Record<string, AttributeValue> = Object.create(null) as Record<string, AttributeValue>;
  let last = '';
  for (let i = 0; i < count; i++) {
    const name = reader.text(limits.attribute_name_bytes_max);
    if (!name_pattern.test(name) || name <= last) throw new WireError('malformed', 'an attribute name that is none, or out of order');
    last = name;
    const kind = reader.u8();
    if (kind === kinds_of_value.number) attributes[name] = reader.f64();
    else if (kind === kinds_of_value.text) attributes[name] = reader.text(limits.attribute_text_bytes_max);
    else if (kind === kinds_of_value.set) attributes[name] = texts(reader, limits.attributes_max, limits.attribute_text_bytes_max);
    else throw new WireError('malformed', `an attribute of kind ${kind}`);
  }
  return attributes;
}

/** A text as a number that single-precision columns hold exactly: 24 bits of its hash. */
export const textValue = (text: string): number => hashText(text) >>> 8;

/** A member of a set-valued attribute, as it is kept. */
export const memberValue = (attribute: string, member: string): number => hashText(`${attribute}=${member}`);

/** Says whether a descriptor may be believed. null: yes; else why not, a counter's name. */
export interface Verifier {
  verify(decoded: DecodedDescriptor): null | 'forged' | 'not_admitted' | 'expired';
}
