import type { Codec, Message } from '../core/message.ts';
import type { Peer } from '../core/peer.ts';
import { WireError } from '../core/wire.ts';
import { kinds } from './kinds.ts';
import { limits } from './limits.ts';

export interface Entry {
  readonly peer: Peer;
  readonly position: number;
  /** Rounds since it said itself that it is there. */
  readonly age: number;
}

/** Both of an exchange: the sender is the first entry. */
export interface Offer extends Message {
  /** Hash of the instance's name. */
  readonly instance: number;
  /** Whom the sender wants to hear of: members near this position. */
  readonly wanted: number;
  readonly entries: readonly Entry[];
}

const codec = (kind: number): Codec<Offer> => ({
  kind,
  encode(message, writer) {
    writer.u53(message.instance).u32(message.wanted).u16(message.entries.length);
    for (const { peer, position, age } of message.entries) writer.u32(position).u8(age).peer(peer);
  },
  decode(reader) {
    const [instance, wanted] = [reader.u53(), reader.u32()];
    const entries: Entry[] = [];
    for (let rest = reader.count(limits.entries_per_message); rest > 0; rest--) {
      const [position, age, peer] = [reader.u32(), reader.u8(), reader.peer()];
      if (position >= limits.members_max) throw new WireError('malformed', `a member at position ${position}`);
      if (peer >= 0) entries.push({ peer, position, age });
    }
    return { kind, instance, wanted, entries };
  },
  size: (message) => 14 + 805 * message.entries.length,
});

export const shapeCodecs = [codec(kinds.offer), codec(kinds.answer)] as unknown as readonly Codec[];
