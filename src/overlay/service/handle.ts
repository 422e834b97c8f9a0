import type { OverlayStatus } from '../../api/operations/overlay.ts';
import type { Described } from './described.ts';
import type { DynamicValues } from './find.ts';
import type { Interests } from './interests.ts';
import type { OverlayOptions } from './options.ts';
import type { Parts } from './parts.ts';
import type { Topics } from './topics.ts';

/** What the operations of this folder work on: the overlay of the node (service.ts). */
export interface RunningOverlay {
  readonly options: OverlayOptions;
  readonly interests: Interests;
  /** These two throw XOS_UNAVAILABLE while the overlay does not run. */
  readonly topics: Topics;
  readonly parts: Parts;
  readonly described: Described;
  show(): OverlayStatus;
  /** What this node says of itself has changed: kept, signed and told. Throws XOS_BUSY when it changes too often. */
  describeAgain(): Promise<void>;
  tellInterests(): void;
  loads(nodes: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, DynamicValues>>;
}
