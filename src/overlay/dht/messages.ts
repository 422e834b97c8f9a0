import type { Codec, Message } from '../core/message.ts';
import type { Peer } from '../core/peer.ts';
import { WireError } from '../core/wire.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';

export interface Key {
  readonly high: number;
  readonly low: number;
}

export interface Value {
  /** The greater one is the newer one. */
  readonly version: number;
  /** From now on; the rest of its life travels, so that no clocks are compared. */
  readonly life_ms: number;
  readonly bytes: Uint8Array;
}

export interface Find extends Message, Key {
  readonly id: number;
  readonly value: boolean;
}

export interface Found extends Message {
  readonly id: number;
  /** Closest first. */
  readonly peers: readonly Peer[];
  readonly value: Value | null;
}

export interface Store extends Message, Key {
  readonly value: Value;
}

type Reads = Parameters<Codec['decode']>[0];
type Writes = Parameters<Codec['encode']>[1];

function flag(reader: Reads): boolean {
  const value = reader.u8();
  if (value > 1) throw new WireError('malformed', `${value} where 0 or 1 may be`);
  return value === 1;
}

const writeValue = (writer: Writes, { version, life_ms, bytes }: Value): void => void writer.u53(version).u32(life_ms).bytes(bytes);

function readValue(reader: Reads): Value {
  const value = { version: reader.u53(), life_ms: reader.u32(), bytes: reader.bytes(limits.value_bytes_max) };
  if (value.life_ms > limits.value_life_ms_max) throw new WireError('oversized', `a life of ${value.life_ms} ms`);
  return value;
}

const find: Codec<Find> = {
  kind: kinds.find,
  encode: (message, writer) => void writer.u32(message.id).u32(message.high).u32(message.low).u8(Number(message.value)),
  decode: (reader) => ({ kind: kinds.find, id: reader.u32(), high: reader.u32(), low: reader.u32(), value: flag(reader) }),
  size: () => 13,
};

const found: Codec<Found> = {
  kind: kinds.found,
  encode(message, writer) {
    writer.u32(message.id).u16(message.peers.length);
    for (const peer of message.peers) writer.peer(peer);
    writer.u8(Number(message.value !== null));
    if (message.value !== null) writeValue(writer, message.value);
  },
  decode(reader) {
    const id = reader.u32();
    const peers: Peer[] = [];
    for (let rest = reader.count(limits.peers_per_answer); rest > 0; rest--) {
      const peer = reader.peer();
      if (peer >= 0) peers.push(peer);
    }
    return { kind: kinds.found, id, peers, value: flag(reader) ? readValue(reader) : null };
  },
  size: (message) => 7 + 800 * message.peers.length + (message.value?.bytes.length ?? 0),
};

const store: Codec<Store> = {
  kind: kinds.store,
  encode(message, writer) {
    writer.u32(message.high).u32(message.low);
    writeValue(writer, message.value);
  },
  decode: (reader) => ({ kind: kinds.store, high: reader.u32(), low: reader.u32(), value: readValue(reader) }),
  size: (message) => 22 + message.value.bytes.length,
};

export const dhtCodecs = [find, found, store] as unknown as readonly Codec[];
