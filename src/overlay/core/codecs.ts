import type { Codec, Message } from './message.ts';
import { Reader, WireError, Writer, type PeerCodec } from './wire.ts';

/** All kinds of message of a node. A frame is the kind (one byte) and what its codec writes. */
export class Codecs {
  readonly #codecs: (Codec | undefined)[] = [];
  readonly #peers: PeerCodec;

  constructor(peers: PeerCodec, codecs: readonly Codec[]) {
    this.#peers = peers;
    for (const codec of codecs) {
      if (this.#codecs[codec.kind] !== undefined) throw new Error(`two codecs for messages of kind ${codec.kind}`);
      this.#codecs[codec.kind] = codec;
    }
  }

  /** Throws WireError('oversized') when the message is too large for one frame. */
  encode(message: Message): Buffer {
    const codec = this.#codecs[message.kind];
    if (codec === undefined) throw new Error(`no codec for messages of kind ${message.kind}`);
    const writer = new Writer(this.#peers);
    writer.u8(message.kind);
    codec.encode(message, writer);
    return Buffer.from(writer.done());
  }

  /** Throws WireError on anything malformed. */
  decode(frame: Uint8Array): Message {
    const reader = new Reader(frame, this.#peers);
    const kind = reader.u8();
    const codec = this.#codecs[kind];
    if (codec === undefined) throw new WireError('unknown', `kind ${kind}`);
    const message = codec.decode(reader);
    reader.end();
    return message;
  }
}

/** Bytes of each kind of message for the simulator; 64 for kinds without a codec. */
export function sizes(codecs: readonly Codec[]): (message: Message) => number {
  const by_kind: (Codec | undefined)[] = [];
  for (const codec of codecs) by_kind[codec.kind] = codec;
  return (message) => {
    const codec = by_kind[message.kind];
    return codec === undefined ? 64 : 1 + codec.size(message);
  };
}
