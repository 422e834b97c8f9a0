/** Operations on the overlay: publish-subscribe, and the search for nodes. */
export interface OverlayOperations {
  /**
   * Publishes one message: `text` (UTF-8) or `base64`. Members may where the VO lets them, root of the node as the node. `confirmed`: a neighbour
   * has it, so that it outlives this xosd; false when there is no neighbour, or none answered within a second.
   */
  'topic-publish': {
    request: { readonly topic: string; readonly text?: string; readonly base64?: string };
    response: { readonly node: string; readonly epoch: number; readonly seq: number; readonly confirmed: boolean };
  };
  /**
   * Messages come as progress until the caller goes away. `replay`: first what the history of this node holds (some ten minutes); `after`:
   * first what came after these positions, by node.
   */
  'topic-subscribe': {
    request: { readonly pattern: string; readonly filter?: string; readonly replay?: boolean; readonly after?: Positions };
    progress: { readonly messages: readonly TopicMessage[]; readonly gaps: readonly TopicGap[] };
    response: Record<never, never>;
  };
  /** `query`: a conjunction, for instance `cores >= 8, memory in 16GiB..64GiB, arch = x86_64`. At most `count` nodes; 0: all. */
  'node-query': {
    request: { readonly query: string; readonly count: number };
    response: { readonly nodes: readonly FoundNode[]; readonly complete: boolean };
  };
  /**
   * As `node-query`, as long as the caller stays: a directory is opened for it on the nodes that fit what is fixed, and asked each second; what fits comes as
   * progress, at once and whenever it changes. At most 48 nodes.
   */
  'node-follow': {
    request: { readonly query: string; readonly count: number };
    progress: { readonly nodes: readonly FoundNode[] };
    response: Record<never, never>;
  };
  /**
   * Changes what this node says of itself while it runs. Attributes (root) last; metrics (members, too) are numbers that change often, good for `life_s` seconds
   * (default 60), and are asked as `metric.NAME`.
   */
  'node-describe': {
    request: {
      readonly set?: Readonly<Record<string, number | string | readonly string[]>>; readonly unset?: readonly string[];
      readonly metrics?: Readonly<Record<string, number>>; readonly life_s?: number;
    };
    response: { readonly attributes: Readonly<Record<string, number | string | readonly string[]>>; readonly metrics: Readonly<Record<string, number>> };
  };
  /**
   * This node takes a position in a shape of the caller's application until the caller goes away; its neighbours come as progress, at once and
   * whenever they change. `shape`: ring, torus[:WxH], mesh[:WxH], tree[:ARITY], hypercube, nearest:COUNT.
   */
  'shape-join': {
    request: { readonly name: string; readonly shape: string; readonly position: number; readonly size: number };
    progress: { readonly neighbours: readonly ShapeNeighbour[] };
    response: Record<never, never>;
  };
  /** What the overlay of this node knows and counted; anyone may ask. */
  'overlay-status': { request: Record<never, never>; response: OverlayStatus };
}

/** Up to where a subscriber has read each publisher. */
export type Positions = Readonly<Record<string, { readonly epoch: number; readonly seq: number }>>;

export interface TopicMessage {
  readonly topic: string;
  /** The publisher: a node, or a user on it. */
  readonly node: string;
  readonly user: string | null;
  /** The publisher's clock. */
  readonly time_ms: number;
  /** Its place in the publisher's stream: messages of the same number came together. */
  readonly epoch: number;
  readonly seq: number;
  /** One of the two: text when the payload is UTF-8. */
  readonly text?: string;
  readonly base64?: string;
  /** The next one has the same number: this is no position to go on after. */
  readonly more?: true;
}

/** Messages of a publisher that could not be had any more; which topics they had is not known. */
export interface TopicGap {
  readonly node: string;
  /** 0: not known how many. */
  readonly missed: number;
  readonly why: string;
}

export interface FoundNode {
  readonly node: string;
  readonly address: string;
  readonly sites: readonly string[];
  readonly attributes: Readonly<Record<string, number | string | readonly string[]>>;
}

/** A member beside this one. */
export interface ShapeNeighbour {
  readonly position: number;
  readonly node: string;
  readonly address: string;
}

export interface OverlayStatus {
  readonly node: string;
  readonly running: boolean;
  readonly reason: string;
  readonly known: number;
  readonly links: readonly string[];
  readonly messages_kept: number;
  readonly bytes_kept: number;
  readonly publishers: number;
  readonly subscriptions: number;
  readonly counters: Readonly<Record<string, number>>;
}
