export { parseAttributes, type Attributes } from './attributes.ts';
export type { OverlayOptions } from './options.ts';
export { OverlayService } from './service.ts';
export type { Facts, FactKind } from './vo-facts.ts';
