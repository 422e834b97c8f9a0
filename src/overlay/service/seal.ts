import { X509Certificate, createHash, verify, type KeyObject } from 'node:crypto';
import type { XosError } from '../../core/errors.ts';
import type { PeerIdentity } from '../../core/rpc.ts';
import { nobody, Reader, unpooled, WireError, Writer, type KnownPeers, type Peer } from '../core/index.ts';
import { limits as core } from '../core/limits.ts';
import type { Trust } from '../pubsub/broadcast.ts';
import { limits } from '../pubsub/limits.ts';
import type { MessageId } from '../pubsub/messages.ts';

/** One message of a bundle. `user` is who published it, by the word of the node; empty: the node itself. */
export interface Item {
  readonly topic: string;
  readonly user: string;
  readonly payload: Buffer;
}

/** What a node publishes at once: signed by it, so that nobody on the way can change a word or speak in its name. */
export interface Bundle extends MessageId {
  readonly vo: string;
  readonly node: string;
  /** The publisher's wall clock. */
  readonly time_ms: number;
  readonly items: readonly Item[];
}

const prefix = Buffer.from('xos-publication-v1\n');
const signature_bytes = 64;

/** 52 bits that are a node's in its VO. */
export const originOf = (vo: string, node: string): number => {
  const hash = createHash('sha256').update(`xos-publisher\n${vo}/${node}`).digest();
  return hash.readUInt32BE(0) * 2 ** 20 + (hash.readUInt32BE(4) >>> 12);
};

export function sealBundle(bundle: Omit<Bundle, 'origin'>, sign: (bytes: Uint8Array) => Uint8Array): Buffer {
  const writer = new Writer(null, core.message_bytes_max - 256);
  writer.u8(1).text(bundle.vo).text(bundle.node).u53(bundle.epoch).u32(bundle.seq).u53(bundle.time_ms).u16(bundle.items.length);
  for (const { topic, user, payload } of bundle.items) writer.text(topic).text(user).bytes(payload);
  const body = Buffer.from(writer.done());
  // The history keeps it.
  return unpooled(Buffer.concat([body, sign(Buffer.concat([prefix, body]))]));
}

/** Checks the form only. Throws WireError. */
export function openBundle(bytes: Uint8Array): { readonly bundle: Bundle; readonly signed: Buffer; readonly signature: Buffer } {
  if (bytes.length < signature_bytes) throw new WireError('truncated', `a bundle of ${bytes.length} bytes`);
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length - signature_bytes);
  const reader = new Reader(body);
  if (reader.u8() !== 1) throw new WireError('malformed', 'a bundle of another version');
  const [vo, node] = [reader.text(limits.node_bytes_max), reader.text(limits.node_bytes_max)];
  const [epoch, seq, time_ms] = [reader.u53(), reader.u32(), reader.u53()];
  const items: Item[] = [];
  for (let rest = reader.count(limits.bundle_items_max); rest > 0; rest--) {
    items.push({ topic: reader.text(limits.topic_bytes_max), user: reader.text(limits.user_bytes_max), payload: reader.bytes(limits.payload_bytes_max) });
  }
  reader.end();
  return {
    bundle: { vo, node, origin: originOf(vo, node), epoch, seq, time_ms, items },
    signed: Buffer.concat([prefix, body]), signature: Buffer.from(bytes.subarray(bytes.length - signature_bytes)),
  };
}

export interface SealTrustOptions {
  readonly vo: string;
  readonly node: string;
  readonly epoch: number;
  readonly known: KnownPeers;
  /** Why a node may not speak (revoked, not admitted); null when it may. */
  readonly refuse: (peer: PeerIdentity) => XosError | null;
}

interface Publisher {
  readonly node: string;
  readonly certificate: Uint8Array;
  readonly key: KeyObject;
  readonly serial: string;
}

/** Believes a bundle that is signed by the key of the node that it names; keys come with the descriptors of the Book. */
export class SealTrust implements Trust {
  readonly #options: SealTrustOptions;
  readonly #origin: number;
  readonly #nodes = new Map<number, string>();
  readonly #publishers = new Map<string, Publisher>();

  constructor(options: SealTrustOptions) {
    this.#options = options;
    this.#origin = originOf(options.vo, options.node);
  }

  own(): { readonly origin: number; readonly epoch: number } {
    return { origin: this.#origin, epoch: this.#options.epoch };
  }

  check(_self: number, id: MessageId, bytes: Uint8Array): 'good' | 'bad' | 'unknown' {
    let opened;
    try {
      opened = openBundle(bytes);
    } catch (thrown) {
      if (thrown instanceof WireError) return 'bad';
      throw thrown;
    }
    const { bundle, signed, signature } = opened;
    if (bundle.vo !== this.#options.vo || bundle.origin !== id.origin || bundle.epoch !== id.epoch || bundle.seq !== id.seq) return 'bad';
    const publisher = this.#publisher(bundle.node);
    if (publisher === null) return 'unknown';
    if (this.#options.refuse({ vo: bundle.vo, node: bundle.node, serial: publisher.serial }) !== null) return 'bad';
    return verify(null, signed, publisher.key, signature) ? 'good' : 'bad';
  }

  find(_self: number, origin: number): Peer {
    const node = this.#nodes.get(origin);
    const peer = node === undefined ? -1 : this.#options.known.find(node);
    return peer < 0 ? nobody : peer;
  }

  learn(_self: number, origin: number, peer: Peer): boolean {
    const node = this.#options.known.descriptor(peer)?.node;
    return node !== undefined && originOf(this.#options.vo, node) === origin;
  }

  /** null when the Book does not have the node (any more). */
  #publisher(node: string): Publisher | null {
    const peer = this.#options.known.find(node);
    const descriptor = peer < 0 ? null : this.#options.known.descriptor(peer);
    if (descriptor === null) return null;
    const known = this.#publishers.get(node);
    if (known !== undefined && Buffer.compare(known.certificate, descriptor.certificate) === 0) return known;
    // The Book admitted it, so the certificate is the VO's.
    const certificate = new X509Certificate(Buffer.from(descriptor.certificate));
    const publisher = { node, certificate: descriptor.certificate, key: certificate.publicKey, serial: certificate.serialNumber.toLowerCase() };
    if (this.#publishers.size >= limits.origins_max) this.#publishers.delete(this.#publishers.keys().next().value!);
    this.#publishers.set(node, publisher);
    this.#nodes.set(originOf(this.#options.vo, node), node);
    return publisher;
  }
}
