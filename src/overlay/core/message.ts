import type { Reader, Writer } from './wire.ts';

/**
 * A message between protocols. In the simulator the object itself travels, so it must be plain, hold Peers where it means nodes, and not
 * be changed after it was sent. On the wire its codec writes it. `kind` is one of kinds.ts.
 */
export interface Message {
  readonly kind: number;
}

/** How one kind of message looks on the wire. */
export interface Codec<M extends Message = Message> {
  readonly kind: number;
  encode(message: M, writer: Writer): void;
  /** Throws WireError (wire.ts) on anything that it would not have written itself. Peers come as `reader.peer()`. */
  decode(reader: Reader): M;
  /** Encoded bytes, without the frame; only the simulator asks. May be an estimate within 5 %. */
  size(message: M): number;
}

/** Enough for two words for each of 15 peers, and a head: two lines of the processor's cache. */
export const packet_words = 32;

/**
 * The message of the protocols that run a million times in one process: a few words in a buffer that the engine uses again once it was
 * delivered. `words` are meaningful up to `count`.
 */
export class Packet implements Message {
  kind = 0;
  count = 0;
  /** How many deliveries are still to come (a doubled message has two); the engine's. */
  pending = 0;
  readonly words = slice();
}

const free: Packet[] = [];
/** Words come from large blocks: a buffer of its own would cost each packet as much again. */
const block_packets = 512;
let block = new Uint32Array(0);
let used = 0;

function slice(): Uint32Array {
  if (used === block.length) {
    block = new Uint32Array(block_packets * packet_words);
    used = 0;
  }
  used += packet_words;
  return block.subarray(used - packet_words, used);
}

/** An empty packet of `kind`: yours until it is sent. */
export function packet(kind: number): Packet {
  const found = free.pop() ?? new Packet();
  found.kind = kind;
  found.count = 0;
  found.pending = 0;
  return found;
}

/** For hosts: the packet was delivered, encoded or lost. Other messages are left to the collector. */
export function recycle(message: Message): void {
  if (message instanceof Packet && --message.pending <= 0 && free.length < 32_768) free.push(message);
}

const scratch = new Float32Array(1);
const scratch_bits = new Uint32Array(scratch.buffer);

/** A number of single precision as a word of a packet, and back. */
export function wordOf(real: number): number {
  scratch[0] = real;
  return scratch_bits[0]!;
}

export function realOf(word: number): number {
  scratch_bits[0] = word;
  return scratch[0]!;
}
