import { kinds, packet, packet_words, realOf, wordOf, type Codec, type Packet, type Reader, type Writer } from '../core/index.ts';
import { limits } from './limits.ts';

/** The typical size of a descriptor with its certificate on the wire; test/overlay/core/descriptor.test.ts compares. */
export const descriptor_bytes = 880;

/** Packets that are lists of (peer, age): `words[0]` is the count. */
export function listCodec(kind: number, count_max: number): Codec<Packet> {
  return {
    kind,
    encode(message: Packet, writer: Writer): void {
      const count = message.words[0]!;
      writer.u8(count);
      for (let i = 0; i < count; i++) writer.u8(message.words[2 + 2 * i]!).peer(message.words[1 + 2 * i]!);
    },
    decode(reader: Reader): Packet {
      const message = packet(kind);
      const count = Math.min(reader.u8(), 255);
      if (count > count_max) throw reader.malformed(`a list of ${count} peers`);
      let kept = 0;
      for (let i = 0; i < count; i++) {
        const age = reader.u8();
        const peer = reader.peer();
        if (peer < 0) continue;
        message.words[1 + 2 * kept] = peer;
        message.words[2 + 2 * kept] = age;
        kept++;
      }
      message.words[0] = kept;
      message.count = 1 + 2 * kept;
      return message;
    },
    size: (message) => 1 + message.words[0]! * (3 + descriptor_bytes),
  };
}

/** Adds to such a list; false when it is full. */
export function put(message: Packet, peer: number, age: number): boolean {
  const count = message.words[0]!;
  if (3 + 2 * count > packet_words) return false;
  message.words[1 + 2 * count] = peer;
  message.words[2 + 2 * count] = age;
  message.words[0] = count + 1;
  return true;
}

/** `words[0]`: a peer. */
function peerCodec(kind: number): Codec<Packet> {
  return {
    kind,
    encode: (message, writer) => void writer.peer(message.words[0]!),
    decode(reader) {
      const message = packet(kind);
      message.words[0] = reader.knownPeer();
      return message;
    },
    size: () => 2 + descriptor_bytes,
  };
}

/** A ping: for whom it is sent (`words[0]`, nobody: for the sender). */
const ping: Codec<Packet> = {
  kind: kinds.ping,
  encode(message, writer) {
    writer.optionalPeer(message.words[0]!);
  },
  decode(reader) {
    const message = packet(kinds.ping);
    message.words[0] = reader.optionalPeer();
    return message;
  },
  size: (message) => (message.words[0]! === 0xffff_ffff ? 1 : 3 + descriptor_bytes),
};

/** `words`: whom it is about (nobody: the sender), whether that one answered, for whom it is, and the coordinates of whom it is about. */
const ack: Codec<Packet> = {
  kind: kinds.ack,
  encode(message, writer) {
    const { words } = message;
    writer.optionalPeer(words[0]!).u8(words[1]!).optionalPeer(words[2]!);
    for (let i = 3; i < 7; i++) writer.f32(realOf(words[i]!));
  },
  decode(reader) {
    const message = packet(kinds.ack);
    const { words } = message;
    words[0] = reader.optionalPeer();
    words[1] = reader.u8();
    words[2] = reader.optionalPeer();
    for (let i = 3; i < 7; i++) words[i] = wordOf(reader.f32());
    return message;
  },
  size: ({ words }) => 19 + (words[0]! === 0xffff_ffff ? 0 : 2 + descriptor_bytes) + (words[2]! === 0xffff_ffff ? 0 : 2 + descriptor_bytes),
};

const join: Codec<Packet> = {
  kind: kinds.join,
  encode: (message, writer) => void writer.u8(message.words[1]!).peer(message.words[0]!),
  decode(reader) {
    const message = packet(kinds.join);
    message.words[1] = reader.u8();
    message.words[0] = reader.knownPeer();
    return message;
  },
  size: () => 3 + descriptor_bytes,
};

const leave: Codec<Packet> = { kind: kinds.leave, encode: () => undefined, decode: () => packet(kinds.leave), size: () => 0 };

export const membershipCodecs: readonly Codec[] = [
  listCodec(kinds.shuffle, limits.shuffle), listCodec(kinds.shuffle_reply, limits.shuffle), ping, ack, peerCodec(kinds.ping_request), join, leave,
];
