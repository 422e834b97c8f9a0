import { limits as core } from '../core/limits.ts';
import type { Peer } from '../core/peer.ts';
import type { Codec, Message } from '../core/message.ts';
import { WireError, type Reader, type Writer } from '../core/wire.ts';
import type { DigestEntry } from './history.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';
import type { LinkAsk, LinkPing } from './mesh.ts';

/** A message of a publisher on its way. */
export interface Gossip extends Message {
  readonly origin: number;
  readonly epoch: number;
  readonly seq: number;
  /** Links that it came over before this one; 255: so many or more. */
  readonly hops: number;
  /** `push`: along the tree. `asked`: it was asked for, and says nothing about the tree. `first`: from the publisher, which wants to know that it came. */
  readonly way: 'push' | 'asked' | 'first';
  /** Sealed by the publisher. */
  readonly bytes: Uint8Array;
}

export interface MessageId {
  readonly origin: number;
  readonly epoch: number;
  readonly seq: number;
}

export interface Have extends Message, MessageId {}

export interface Announced extends MessageId {
  /** As the message itself would say, were it sent over this link. */
  readonly hops: number;
}

export interface Announce extends Message {
  readonly ids: readonly Announced[];
}

export interface Range {
  readonly origin: number;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
}

export interface Graft extends Message {
  /** The link becomes part of the tree: the messages come by it from now on. */
  readonly join: boolean;
  readonly ranges: readonly Range[];
}

export interface Digest extends Message {
  readonly answer: boolean;
  readonly entries: readonly DigestEntry[];
}

export interface Who extends Message {
  readonly origin: number;
}

export interface Whois extends Message {
  readonly origin: number;
  readonly peer: Peer;
}

const writeId = (writer: Writer, { origin, epoch, seq }: MessageId): Writer => writer.u53(origin).u53(epoch).u32(seq);
const readId = (reader: Reader): MessageId => ({ origin: reader.u53(), epoch: reader.u53(), seq: positive(reader.u32()) });

function positive(seq: number): number {
  if (seq === 0) throw new WireError('malformed', 'a message number that is 0');
  return seq;
}

function flag(reader: Reader): boolean {
  const value = reader.u8();
  if (value > 1) throw new WireError('malformed', `${value} where 0 or 1 may be`);
  return value === 1;
}

function list<T>(reader: Reader, max: number, one: () => T): readonly T[] {
  const count = reader.count(max);
  const found: T[] = [];
  for (let at = 0; at < count; at++) found.push(one());
  return found;
}

const empty = (kind: number): Codec => ({ kind, encode() {}, decode: () => ({ kind }), size: () => 0 });
const ways = ['push', 'asked', 'first'] as const;

const gossip: Codec<Gossip> = {
  kind: kinds.gossip,
  encode: (message, writer) => void writeId(writer, message).u8(message.hops).u8(ways.indexOf(message.way)).bytes(message.bytes),
  decode(reader) {
    const [id, hops, way] = [readId(reader), reader.u8(), ways[reader.u8()]];
    if (way === undefined) throw new WireError('malformed', 'a message by no known way');
    return { kind: kinds.gossip, ...id, hops, way, bytes: reader.bytes(core.message_bytes_max) };
  },
  size: (message) => 24 + message.bytes.length,
};

const graft: Codec<Graft> = {
  kind: kinds.graft,
  encode(message, writer) {
    writer.u8(Number(message.join)).u16(message.ranges.length);
    for (const { origin, epoch, from, to } of message.ranges) writer.u53(origin).u53(epoch).u32(from).u32(to);
  },
  decode(reader) {
    const join = flag(reader);
    const ranges = list(reader, limits.ranges_per_message_max, () => ({ origin: reader.u53(), epoch: reader.u53(), from: positive(reader.u32()), to: reader.u32() }));
    for (const { from, to } of ranges) if (to < from) throw new WireError('malformed', 'a range that ends before it begins');
    return { kind: kinds.graft, join, ranges };
  },
  size: (message) => 3 + 24 * message.ranges.length,
};

const digest: Codec<Digest> = {
  kind: kinds.digest,
  encode(message, writer) {
    writer.u8(Number(message.answer)).u16(message.entries.length);
    for (const { origin, epoch, contiguous, oldest } of message.entries) writer.u53(origin).u53(epoch).u32(contiguous).u32(oldest);
  },
  decode(reader) {
    const answer = flag(reader);
    const entries = list(reader, limits.digest_entries_max, () => ({ origin: reader.u53(), epoch: reader.u53(), contiguous: reader.u32(), oldest: positive(reader.u32()) }));
    for (const { contiguous, oldest } of entries) if (oldest > contiguous + 1) throw new WireError('malformed', 'an oldest message after the last');
    return { kind: kinds.digest, answer, entries };
  },
  size: (message) => 3 + 24 * message.entries.length,
};

const announce: Codec<Announce> = {
  kind: kinds.announce,
  encode(message, writer) {
    writer.u16(message.ids.length);
    for (const id of message.ids) writeId(writer, id).u8(id.hops);
  },
  decode: (reader) => ({ kind: kinds.announce, ids: list(reader, limits.announce_ids_max, () => ({ ...readId(reader), hops: reader.u8() })) }),
  size: (message) => 2 + 21 * message.ids.length,
};

const linkAsk: Codec<LinkAsk> = {
  kind: kinds.link_ask, size: () => 2,
  encode: ({ urgent, trial }, writer) => void writer.u8(Number(urgent)).u8(Number(trial)),
  decode: (reader) => ({ kind: kinds.link_ask, urgent: flag(reader), trial: flag(reader) }),
};
const linkPing: Codec<LinkPing> = {
  kind: kinds.link_ping,
  encode: (message, writer) => void writer.u32(message.digest).u8(Number(message.answer)),
  decode: (reader) => ({ kind: kinds.link_ping, digest: reader.u32(), answer: flag(reader) }),
  size: () => 5,
};
const have: Codec<Have> = { kind: kinds.have, encode: (message, writer) => void writeId(writer, message), decode: (reader) => ({ kind: kinds.have, ...readId(reader) }), size: () => 20 };
const who: Codec<Who> = { kind: kinds.who, encode: (message, writer) => void writer.u53(message.origin), decode: (reader) => ({ kind: kinds.who, origin: reader.u53() }), size: () => 8 };
const whois: Codec<Whois> = {
  kind: kinds.whois,
  encode: (message, writer) => void writer.u53(message.origin).peer(message.peer),
  decode: (reader) => ({ kind: kinds.whois, origin: reader.u53(), peer: reader.peer() }),
  size: () => 800,
};

export const pubsubCodecs = [
  linkAsk, empty(kinds.link_yes), empty(kinds.link_no), empty(kinds.link_drop), linkPing, gossip, have, announce, graft, empty(kinds.prune), digest, who, whois,
] as unknown as readonly Codec[];
