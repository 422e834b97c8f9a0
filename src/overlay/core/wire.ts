import { limits } from './limits.ts';
import { nobody, type Peer } from './peer.ts';

/** What came in is not what the sender's codec could have written. `reason` is a counter's name: `truncated`, `oversized`, `malformed`, … */
export class WireError extends Error {
  readonly reason: string;

  constructor(reason: string, what: string) {
    super(`cannot decode an overlay message: ${what}`);
    this.name = 'WireError';
    this.reason = reason;
  }
}

/** A copy outside of Node's pool of small buffers. */
export function unpooled(bytes: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** Encoded descriptors of peers, for the writer and the reader. The Book is one. */
export interface PeerCodec {
  /** The encoded descriptor of a peer; throws when the peer is not in the book. */
  encoded(peer: Peer): Uint8Array;
  /** Verifies and keeps; returns the peer, or -1 when it was refused (counted already). */
  admit(bytes: Uint8Array): Peer;
}

/** Writes little-endian values into one growing buffer; throws WireError('oversized') beyond `bytes_max`. */
export class Writer {
  #buffer = Buffer.allocUnsafe(1024);
  #at = 0;
  readonly #bytes_max: number;
  readonly #peers: PeerCodec | null;

  constructor(peers: PeerCodec | null = null, bytes_max: number = limits.message_bytes_max) {
    this.#peers = peers;
    this.#bytes_max = bytes_max;
  }

  #need(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes_max) throw new WireError('oversized', `more than ${this.#bytes_max} bytes`);
    if (at + count > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#bytes_max, Math.max(at + count, this.#buffer.length * 2)));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#at += count;
    return at;
  }

  u8(value: number): this {
    const at = this.#need(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#need(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#need(4);
    this.#buffer.writeUInt32LE(value, at);
    return this;
  }

  /** A safe integer ≥ 0 in 8 bytes. */
  u53(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no safe integer`);
    const at = this.#need(8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
    return this;
  }

  f32(value: number): this {
    const at = this.#need(4);
    this.#buffer.writeFloatLE(value, at);
    return this;
  }

  f64(value: number): this {
    const at = this.#need(8);
    this.#buffer.writeDoubleLE(value, at);
    return this;
  }

  /** Two bytes of length, then the bytes. */
  bytes(value: Uint8Array): this {
    if (value.length > 0xffff) throw new WireError('oversized', 'a field of more than 65,535 bytes');
    this.u16(value.length);
    const at = this.#need(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value, 'utf8'));
  }

  raw(value: Uint8Array): this {
    const at = this.#need(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  /** A peer with its whole descriptor. */
  peer(peer: Peer): this {
    if (this.#peers === null) throw new Error('this writer knows no peers');
    return this.bytes(this.#peers.encoded(peer));
  }

  /** One byte, and the peer unless it is `nobody`. */
  optionalPeer(peer: Peer): this {
    return peer === nobody ? this.u8(0) : this.u8(1).peer(peer);
  }

  /** What was written, a view that the next `reset` invalidates. */
  done(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  reset(): this {
    this.#at = 0;
    return this;
  }
}

/** Reads what Writer wrote. Every method throws WireError('truncated') at the end, and never reads past it. */
export class Reader {
  readonly #buffer: Buffer;
  #at = 0;
  readonly #peers: PeerCodec | null;

  constructor(bytes: Uint8Array, peers: PeerCodec | null = null) {
    if (bytes.length > limits.message_bytes_max) throw new WireError('oversized', `${bytes.length} bytes`);
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#peers = peers;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#buffer.length) throw new WireError('truncated', `${count} bytes wanted at ${at} of ${this.#buffer.length}`);
    this.#at += count;
    return at;
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4));
  }

  u53(): number {
    const value = this.#buffer.readBigUInt64LE(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireError('malformed', 'an integer beyond 2^53');
    return Number(value);
  }

  /** Finite. */
  f32(): number {
    return this.#finite(this.#buffer.readFloatLE(this.#take(4)));
  }

  f64(): number {
    return this.#finite(this.#buffer.readDoubleLE(this.#take(8)));
  }

  #finite(value: number): number {
    if (!Number.isFinite(value)) throw new WireError('malformed', 'a number that is not finite');
    return value;
  }

  #view(count_max: number): Buffer {
    const count = this.u16();
    if (count > count_max) throw new WireError('oversized', `a field of ${count} bytes, ${count_max} are allowed`);
    const at = this.#take(count);
    return this.#buffer.subarray(at, at + count);
  }

  /** A copy, in memory of its own: some are kept for long, and a slice of Node's pool would keep all 8 KiB of it. */
  bytes(count_max: number): Buffer {
    return unpooled(this.#view(count_max));
  }

  /** Valid UTF-8 without NUL. */
  text(bytes_max: number): string {
    const bytes = this.#view(bytes_max);
    const text = bytes.toString('utf8');
    if (text.includes('\0') || !Buffer.from(text, 'utf8').equals(bytes)) throw new WireError('malformed', 'a text that is not UTF-8 or holds NUL');
    return text;
  }

  /** The count of a list that follows. */
  count(max: number): number {
    const count = this.u16();
    if (count > max) throw new WireError('oversized', `a list of ${count}, ${max} are allowed`);
    return count;
  }

  /** A peer, or -1 when its descriptor was refused: skip it, the rest of the message is good. */
  peer(): Peer {
    if (this.#peers === null) throw new WireError('malformed', 'a descriptor where none may be');
    return this.#peers.admit(this.bytes(limits.descriptor_bytes_max));
  }

  /** A peer without whom the message means nothing. */
  knownPeer(): Peer {
    const peer = this.peer();
    if (peer < 0) throw new WireError('refused', 'it is about a peer whose descriptor was refused');
    return peer;
  }

  optionalPeer(): Peer {
    const there = this.u8();
    if (there > 1) throw this.malformed(`a flag of ${there}`);
    return there === 0 ? nobody : this.knownPeer();
  }

  malformed(what: string): WireError {
    return new WireError('malformed', what);
  }

  get rest(): number {
    return this.#buffer.length - this.#at;
  }

  /** Nothing may follow. */
  end(): void {
    if (this.rest !== 0) throw new WireError('malformed', `${this.rest} bytes too many`);
  }
}
