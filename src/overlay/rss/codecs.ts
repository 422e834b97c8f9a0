import { kinds, type Codec, type Peer, type Reader, type Writer } from '../core/index.ts';
import { descriptor_bytes } from '../membership/index.ts';
import { limits } from './limits.ts';
import type { AcceptMessage, AnswerMessage, DoneMessage, PartMessage, QueryMessage, WalkMessage } from './messages.ts';
import { decodeQuery, encodeQuery, queryBytes } from './query-codec.ts';

const peer_bytes = 2 + descriptor_bytes;

export function writePeers(writer: Writer, peers: readonly Peer[]): void {
  writer.u16(peers.length);
  for (const peer of peers) writer.peer(peer);
}

/** Those whose descriptors were refused are left out. */
export function readPeers(reader: Reader, max: number): Peer[] {
  const peers: Peer[] = [];
  for (let count = reader.count(max); count > 0; count--) {
    const peer = reader.peer();
    if (peer >= 0) peers.push(peer);
  }
  return peers;
}

function readDepth(reader: Reader): number {
  const depth = reader.u8();
  if (depth > 64) throw reader.malformed(`a depth of ${depth}`);
  return depth;
}

const query: Codec<QueryMessage> = {
  kind: kinds.rss_query,
  encode(message, writer) {
    writer.u32(message.id).u8(message.key).u8(message.depth);
    encodeQuery(message.query, writer);
  },
  decode: (reader) => ({ kind: kinds.rss_query, id: reader.u32(), key: reader.u8(), depth: readDepth(reader), query: decodeQuery(reader) }),
  size: (message) => 6 + queryBytes(message.query),
};

const answer: Codec<AnswerMessage> = {
  kind: kinds.rss_answer,
  encode(message, writer) {
    writer.u32(message.id);
    writePeers(writer, message.matches);
    writer.u16(message.rest.length);
    for (const box of message.rest) {
      writer.u8(box.depth);
      writePeers(writer, box.peers);
    }
  },
  decode(reader) {
    const id = reader.u32();
    const matches = readPeers(reader, limits.answer_peers_max);
    const rest = Array.from({ length: reader.count(limits.answer_rest_max) }, () => ({ depth: readDepth(reader), peers: readPeers(reader, limits.bucket) }));
    return { kind: kinds.rss_answer, id, matches, rest };
  },
  size: ({ matches, rest }) => 8 + peer_bytes * matches.length + rest.reduce((sum, box) => sum + 3 + peer_bytes * box.peers.length, 0),
};

const walk: Codec<WalkMessage> = {
  kind: kinds.rss_walk,
  encode(message, writer) {
    writer.u32(message.id).u32(message.walk).u8(message.key).u8(message.depth).u32(message.within_ms).peer(message.origin);
    encodeQuery(message.query, writer);
  },
  decode(reader) {
    const [id, number, key, depth, within_ms] = [reader.u32(), reader.u32(), reader.u8(), readDepth(reader), reader.u32()];
    return { kind: kinds.rss_walk, id, walk: number, key, depth, within_ms, origin: reader.knownPeer(), query: decodeQuery(reader) };
  },
  size: (message) => 14 + peer_bytes + queryBytes(message.query),
};

const accept: Codec<AcceptMessage> = {
  kind: kinds.rss_accept,
  encode: (message, writer) => void writer.u32(message.walk),
  decode: (reader) => ({ kind: kinds.rss_accept, walk: reader.u32() }),
  size: () => 4,
};

const part: Codec<PartMessage> = {
  kind: kinds.rss_part,
  encode(message, writer) {
    writer.u32(message.id);
    writePeers(writer, message.matches);
  },
  decode: (reader) => ({ kind: kinds.rss_part, id: reader.u32(), matches: readPeers(reader, limits.answer_peers_max) }),
  size: (message) => 6 + peer_bytes * message.matches.length,
};

const done: Codec<DoneMessage> = {
  kind: kinds.rss_done,
  encode(message, writer) {
    writer.u32(message.walk).u32(message.missing);
    writePeers(writer, message.matches);
  },
  decode: (reader) => ({ kind: kinds.rss_done, walk: reader.u32(), missing: reader.u32(), matches: readPeers(reader, limits.answer_peers_max) }),
  size: (message) => 10 + peer_bytes * message.matches.length,
};

export const searchCodecs: readonly Codec[] = [query, answer, walk, accept, part, done];
