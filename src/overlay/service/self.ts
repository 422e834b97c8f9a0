import { X509Certificate, sign, type KeyObject } from 'node:crypto';
import { encodeDescriptor, type Coordinates } from '../core/index.ts';
import type { Attributes } from './attributes.ts';
import { joined, key_attribute } from './transport.ts';

export interface SelfOptions {
  readonly node: string;
  readonly vo: string;
  readonly address: string;
  readonly port: number;
  readonly roles: readonly string[];
  /** The name of the datagrams' key (session.ts). */
  readonly key: string;
  /** The node's key and certificate as they are now: a renewed certificate comes with the next descriptor. */
  readonly identity: () => { readonly key: KeyObject; readonly certificate: string };
}

/** What this node says of itself, signed; each issue has a greater epoch. */
export class Self {
  readonly #options: SelfOptions;
  #epoch: number;
  attributes: Attributes = {};
  coordinates: Coordinates = { x: 0, y: 0, height: 0, error: 1 };

  /** `epoch`: greater than that of any issue of before. */
  constructor(options: SelfOptions, epoch: number) {
    this.#options = options;
    this.#epoch = epoch;
  }

  sign = (bytes: Uint8Array): Buffer => sign(null, bytes, this.#options.identity().key);

  issue(now_ms: number): Uint8Array {
    const { node, vo, address, port, roles, key, identity } = this.#options;
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(now_ms));
    const site = this.attributes['site'];
    return encodeDescriptor({
      node, vos: [vo], addresses: [joined(address, port)], sites: typeof site === 'string' ? [site] : [], epoch: this.#epoch,
      attributes: { ...this.attributes, node, roles: [...roles], [key_attribute]: key }, coordinates: this.coordinates,
      certificate: new X509Certificate(identity().certificate).raw,
    }, this.sign);
  }
}
