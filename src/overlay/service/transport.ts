import type { DatagramSocket } from '../../core/ports.ts';
import { limits as core, type Descriptor, type KnownPeers, type Metrics } from '../core/index.ts';
import { Bucket } from './bucket.ts';
import { limits } from './limits.ts';
import { pack, unpack } from './packed.ts';
import { Assembler, cut } from './pieces.ts';
import { Session, data_type, header_bytes, tag_bytes, type OwnKey } from './session.ts';

/** The attribute of a descriptor that names the key of datagrams. */
export const key_attribute = 'overlay.key';

const hello_type = 2;
const who_type = 3;
const id_bytes = 8;

interface Contact {
  readonly node: string;
  /** Under the key that the descriptor named when this was made. */
  session: Session | null;
  key: string;
  address: string;
  port: number;
  /** It has shown that it knows our key: no introduction before messages any more. */
  confirmed: boolean;
  hello_ms: number;
  number: number;
  readonly assembler: Assembler;
  readonly bucket: Bucket;
  recent: { readonly frame: Uint8Array; readonly at_ms: number }[];
}

export interface TransportOptions {
  readonly key: OwnKey;
  readonly known: KnownPeers;
  readonly metrics: Metrics;
  readonly now_ms: () => number;
  /** A whole frame of a node whose descriptor is in `known`. */
  readonly receive: (node: string, frame: Buffer) => void;
  /** A descriptor came by introduction and was admitted. */
  readonly introduced: (node: string) => void;
}

/**
 * Frames between nodes as sealed datagrams. A node introduces itself (its signed descriptor) with its first message to another one; who cannot
 * read a datagram says so with a few bytes, never more than were sent to it, so nobody can be made to flood a third.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #contacts = new Map<string, Contact>();
  /** Node by the id of its key, hexadecimal. */
  readonly #nodes = new Map<string, string>();
  readonly #addresses = new Map<string, Bucket>();
  readonly #hellos: Bucket;
  readonly #whos: Bucket;
  #socket: DatagramSocket | null = null;
  #own: Uint8Array = new Uint8Array();

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#hellos = new Bucket(limits.hellos_per_second, limits.hellos_burst, options.now_ms());
    this.#whos = new Bucket(limits.whos_per_second, limits.whos_burst, options.now_ms());
  }

  use(socket: DatagramSocket | null): void {
    this.#socket = socket;
  }

  /** The descriptor to introduce ourselves with. */
  introduceAs(encoded: Uint8Array): void {
    this.#own = encoded;
    for (const contact of this.#contacts.values()) contact.confirmed = false;
  }

  /** Says who we are, and asks who is there, at an address of which no more is known. */
  hello(address: string, port: number): void {
    this.#options.metrics.add('transport.hello');
    this.#socket?.send(Buffer.concat([Buffer.from([hello_type, 1]), this.#own]), address, port);
  }

  /** Tells nodes of a changed descriptor before there is a message for them. */
  announce(nodes: readonly string[]): void {
    for (const node of nodes) {
      const contact = this.#contact(node);
      if (contact !== null && contact.session !== null) this.#introduce(contact, false);
    }
  }

  /** Sends a frame to a node that is in `known`. False: it is not, or says no address or key. */
  send(node: string, frame: Uint8Array): boolean {
    const contact = this.#contact(node);
    if (contact === null || contact.session === null) return false;
    const now_ms = this.#options.now_ms();
    if (!contact.confirmed) {
      this.#introduce(contact, false);
      contact.recent = [...contact.recent.filter(({ at_ms }) => now_ms - at_ms < limits.recent_ms), { frame, at_ms: now_ms }].slice(-limits.recent_max);
    }
    this.#put(contact, contact.session, frame);
    return true;
  }

  /** Every datagram of the socket comes here; it may hold anything. */
  received(datagram: Buffer, address: string, port: number): void {
    const { metrics } = this.#options;
    metrics.add('transport.received');
    if (datagram.length > limits.frame_bytes_max) return metrics.add('rejected.oversized');
    switch (datagram[0]) {
      case data_type: return this.#onData(datagram, address, port);
      case hello_type: return this.#onHello(datagram, address);
      case who_type: return this.#onWho(datagram, address, port);
      default: metrics.add('rejected.unknown');
    }
  }

  /** A node was put out of the VO, or its row of the Book was freed. */
  forget(node: string): void {
    const contact = this.#contacts.get(node);
    if (contact === undefined) return;
    this.#contacts.delete(node);
    if (contact.session !== null) this.#nodes.delete(contact.session.id);
  }

  #put(contact: Contact, session: Session, frame: Uint8Array): void {
    contact.number = (contact.number + 1) & 0xffff;
    for (const piece of cut(pack(frame), contact.number)) {
      this.#options.metrics.add('transport.sent');
      this.#socket?.send(session.seal(piece), contact.address, contact.port);
    }
  }

  /** The contact as its newest descriptor has it. */
  #contact(node: string): Contact | null {
    const peer = this.#options.known.find(node);
    const descriptor = peer < 0 ? null : this.#options.known.descriptor(peer);
    if (descriptor === null) {
      this.forget(node);
      return null;
    }
    let contact = this.#contacts.get(node);
    if (contact === undefined) {
      if (this.#contacts.size >= limits.sessions_max) this.forget(this.#contacts.keys().next().value!);
      const now_ms = this.#options.now_ms();
      contact = { node, session: null, key: '', address: '', port: 0, confirmed: false, hello_ms: Number.NEGATIVE_INFINITY, number: 0, assembler: new Assembler(), bucket: new Bucket(core.peer_messages_per_second, core.peer_messages_burst, now_ms), recent: [] };
      this.#contacts.set(node, contact);
    }
    this.#refresh(contact, descriptor);
    return contact;
  }

  #refresh(contact: Contact, descriptor: Descriptor): void {
    const key = String(descriptor.attributes[key_attribute] ?? '');
    const [address, port] = split(descriptor.addresses[0] ?? '');
    Object.assign(contact, { address, port });
    if (key === contact.key) return;
    if (contact.session !== null) this.#nodes.delete(contact.session.id);
    contact.key = key;
    contact.confirmed = false;
    try {
      contact.session = address === '' ? null : new Session(this.#options.key, key);
    } catch {
      contact.session = null;
      this.#options.metrics.add('rejected.bad_key');
    }
    if (contact.session !== null) this.#nodes.set(contact.session.id, contact.node);
  }

  #introduce(contact: Contact, answer_wanted: boolean): void {
    const now_ms = this.#options.now_ms();
    if (now_ms - contact.hello_ms < limits.hello_every_ms) return;
    contact.hello_ms = now_ms;
    this.#options.metrics.add('transport.hello');
    this.#socket?.send(Buffer.concat([Buffer.from([hello_type, Number(answer_wanted)]), this.#own]), contact.address, contact.port);
  }

  #onData(datagram: Buffer, address: string, port: number): void {
    const { metrics, key, now_ms } = this.#options;
    if (datagram.length < header_bytes + tag_bytes) return metrics.add('rejected.truncated');
    const from = datagram.toString('hex', 1, 9);
    const node = this.#nodes.get(from);
    // Its key is not known here, or it does not know ours: it has to hear that, or it would go on in vain.
    if (node === undefined || !datagram.subarray(9, 17).equals(key.id)) return this.#who(datagram, address, port);
    const contact = this.#contact(node);
    if (contact?.session == null || contact.session.id !== from) return metrics.add('rejected.stale_key');
    const piece = contact.session.open(datagram);
    if (typeof piece === 'string') return metrics.add(`rejected.${piece}`);
    // Only what it proved to be its own counts against a peer: its id stands open in every datagram, and others must not use up its share.
    if (!contact.bucket.take(now_ms())) return metrics.add('rejected.flood');
    contact.confirmed = true;
    contact.recent = [];
    const frame = contact.assembler.add(piece, now_ms());
    if (frame === 'malformed') return metrics.add('rejected.malformed');
    if (frame === null) return;
    const whole = unpack(frame);
    if (whole === 'malformed') return metrics.add('rejected.malformed');
    this.#options.receive(node, whole);
  }

  #onHello(datagram: Buffer, address: string): void {
    const { metrics, known, now_ms } = this.#options;
    const now = now_ms();
    if (!this.#address(address).take(now) || !this.#hellos.take(now)) return metrics.add('rejected.hello_flood');
    if (datagram.length > core.descriptor_bytes_max + 2 || datagram[1]! > 1) return metrics.add('rejected.malformed');
    const peer = known.admit(datagram.subarray(2));
    const descriptor = peer > 0 ? known.descriptor(peer) : null;
    if (descriptor === null) return;
    const before = this.#contacts.get(descriptor.node)?.key;
    const contact = this.#contact(descriptor.node);
    if (contact === null) return;
    this.#options.introduced(descriptor.node);
    if (before !== undefined && before !== contact.key) this.#again(contact);
    // To where the node itself says that it is, whoever sent this.
    if (datagram[1] === 1) this.#introduce(contact, false);
  }

  /** A new key: what was sent under the old one could not be read. */
  #again(contact: Contact): void {
    const now_ms = this.#options.now_ms();
    const recent = contact.recent.splice(0);
    if (contact.session !== null) for (const { frame, at_ms } of recent) if (now_ms - at_ms < limits.recent_ms) this.#put(contact, contact.session, frame);
  }

  #who(datagram: Buffer, address: string, port: number): void {
    this.#options.metrics.add('transport.unknown_key');
    if (!this.#whos.take(this.#options.now_ms())) return;
    this.#socket?.send(Buffer.concat([Buffer.from([who_type]), datagram.subarray(1, 9), datagram.subarray(9, 17)]), address, port);
  }

  /** Somebody could not read what we sent: it does not know us, or what we know of it is old. Believed only of an address that we write to. */
  #onWho(datagram: Buffer, address: string, port: number): void {
    const { metrics, key } = this.#options;
    if (datagram.length !== 1 + 2 * id_bytes || !datagram.subarray(1, 9).equals(key.id)) return metrics.add('rejected.malformed');
    const node = this.#nodes.get(datagram.toString('hex', 9, 17));
    const contact = node === undefined ? undefined : this.#contacts.get(node);
    if (contact === undefined || contact.port !== port || contact.address !== address) return metrics.add('rejected.not_asked');
    contact.confirmed = false;
    this.#introduce(contact, true);
  }

  #address(address: string): Bucket {
    let bucket = this.#addresses.get(address);
    if (bucket === undefined) {
      if (this.#addresses.size >= limits.addresses_max) this.#addresses.delete(this.#addresses.keys().next().value!);
      this.#addresses.set(address, (bucket = new Bucket(limits.hellos_per_address_per_second, limits.hellos_per_address_burst, this.#options.now_ms())));
    }
    return bucket;
  }
}

/** `10.0.0.1:7001`, `[::1]:7001` → address and port; port 0 and no address when it is neither. */
export function split(text: string): [address: string, port: number] {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:\s]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? 0);
  return match === null || port < 1 || port > 65_535 ? ['', 0] : [match[1] ?? match[2] ?? '', port];
}

export const joined = (address: string, port: number): string => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
