import type { KeyObject } from 'node:crypto';
import type { XosError } from '../../core/errors.ts';
import type { PeerIdentity } from '../../core/rpc.ts';
import type { NodeContext } from '../../daemon/context.ts';
import type { TopicRule } from '../pubsub/access.ts';
import type { Attributes } from './attributes.ts';
import type { Facts } from './vo-facts.ts';

export interface OverlayOptions {
  readonly context: NodeContext;
  /** Address to bind; the port is that of xosd, UDP. */
  readonly listen: string;
  /** The VO's node CA (PEM). */
  readonly node_ca: string;
  readonly identity: () => { readonly key: KeyObject; readonly certificate: string };
  /** Why a node may not take part (revoked, not admitted); null when it may. */
  readonly refuse: (peer: PeerIdentity) => XosError | null;
  /** The site's attributes and rules (/etc/xos/node.json). */
  readonly attributes: Attributes;
  readonly rules: readonly TopicRule[];
  readonly facts: Facts;
}
