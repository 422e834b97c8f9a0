import type { DatagramSocket, Log } from '../../core/ports.ts';
import { Book, CertificateVerifier, KnownPeers, Random, Rows, hashText, limits as core, type Metrics, type Peer } from '../core/index.ts';
import { Ads, type Values } from '../ads/index.ts';
import { Dht, dhtCodecs } from '../dht/index.ts';
import { Membership } from '../membership/index.ts';
import { Broadcast } from '../pubsub/broadcast.ts';
import { Mesh } from '../pubsub/mesh.ts';
import { pubsubCodecs } from '../pubsub/messages.ts';
import { Learner, Overlay as Links, Search, Space, Vivaldi } from '../rss/index.ts';
import { Shapes, shapeCodecs } from '../shapes/index.ts';
import { NodeHost } from './host.ts';
import type { OverlayOptions } from './options.ts';
import { SealTrust } from './seal.ts';
import { Self } from './self.ts';
import { newOwnKey } from './session.ts';
import type { Store } from './store.ts';
import { Topics } from './topics.ts';
import { Transport } from './transport.ts';

export interface Parts {
  readonly store: Store;
  readonly self: Self;
  readonly random: Random;
  readonly known: KnownPeers;
  readonly transport: Transport;
  readonly host: NodeHost;
  readonly membership: Membership;
  readonly links: Links;
  readonly learner: Learner;
  readonly search: Search;
  readonly ads: Ads;
  readonly dht: Dht;
  readonly mesh: Mesh;
  readonly broadcast: Broadcast;
  readonly topics: Topics;
  readonly shapes: Shapes;
  readonly socket: DatagramSocket;
}

/** What is asked for most, in two keys: a query uses the one whose boxes tell most about it. */
const key_specs = [{ attributes: ['cores', 'memory', 'arch'] }, { attributes: ['disk', 'gpus', 'ghz'] }] as const;

/** Everything of one life of the overlay; nothing runs yet. */
export function makeParts(options: OverlayOptions, metrics: Metrics, store: Store, epoch: number, log: Log, seeds: () => readonly Peer[], measured: () => Values): Omit<Parts, 'socket'> {
  const { context, node_ca, identity, refuse, attributes, rules } = options;
  const { node, vo } = context;
  const { clock } = context.ports;
  const now_ms = (): number => clock.now_ms();
  const key = newOwnKey();
  const self = new Self({ node, vo, address: context.address, port: context.port, roles: context.roles, key: key.name, identity }, epoch);
  self.attributes = attributes;
  const random = new Random(context.ports.random.bytes(6).readUIntBE(0, 6));
  const admitted = (peer: string, serial: string): boolean => refuse({ vo, node: peer, serial }) === null;
  const known = new KnownPeers(new Book({ capacity: core.book_peers_max }), new CertificateVerifier({ vo, node_ca, admitted, now_ms }), metrics, now_ms);
  const transport: Transport = new Transport({
    key, known, metrics, now_ms: () => clock.monotonic_ms(),
    // Whoever was put out of the VO since its descriptor was believed.
    receive: (from, frame) => { if (context.members.node(from)?.state === 'admitted') host.receive(from, frame); else metrics.add('rejected.not_admitted'); },
    introduced: () => {},
  });
  const codecs = [...Ads.codecs, ...Membership.codecs, ...Links.codecs, ...Search.codecs, ...Learner.codecs, ...pubsubCodecs, ...dhtCodecs, ...shapeCodecs];
  const host: NodeHost = new NodeHost({ clock, log, known, metrics, random, codecs, send: (to, frame) => transport.send(to, frame) });
  const rows = new Rows(1);
  const vivaldi = new Vivaldi(host);
  vivaldi.start(0);
  const membership = host.add(new Membership(host, {
    rows, fallback: seeds, verdict: (_self, peer, why) => host.gone(peer, why),
    // What the peer says now is newer than its descriptor.
    roundTrip: (row, ms, at, peer) => { if (vivaldi.measured(row, ms, at)) known.book.coordinates.set(Array.from(at), peer * 4); },
  }));
  // 32 bits that are the node's own everywhere: equal nodes fall into different cells of the hash.
  const own_bits = (peer: Peer): number => hashText(known.descriptor(peer)?.node ?? '');
  const links = host.add(new Links(host, membership, key_specs.map((spec) => new Space(known.book, spec, own_bits)), rows));
  // Cells follow what the VO's nodes are like: with new cuts everybody has another key, and the links are sorted anew.
  const learner = host.add(new Learner(host, membership, links, rows, (row, number, version, cuts) => {
    const table = links.tables[number]!;
    table.space.setCuts(version, cuts);
    links.rebuild(row, table);
  }));
  const search = host.add(new Search(host, links));
  const dht = host.add(new Dht(host, links));
  const ads = host.add(new Ads(host, () => ({ ...context.provided.loads?.now(), ...measured() })));
  const trust = new SealTrust({ vo, node, epoch, known, refuse });
  const topics = new Topics({
    vo, node, epoch, rules, members: context.members, clock, metrics, sign: self.sign, after: (delay_ms, what) => void host.after(0, delay_ms, what),
  });
  const broadcast = new Broadcast(host, trust, topics);
  const mesh = new Mesh(host, (row) => membership.any(row), broadcast);
  broadcast.use(mesh);
  topics.use(broadcast);
  host.add(broadcast);
  host.add(mesh);
  const shapes = host.add(new Shapes(host));
  rows.seal();
  return { store, self, random, known, transport, host, membership, links, learner, search, ads, dht, mesh, broadcast, topics, shapes };
}
