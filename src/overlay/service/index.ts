export { parseAttributes, type Attributes } from './attributes.ts';
export { OverlayService, type OverlayOptions } from './service.ts';
export type { Facts, FactKind } from './vo-facts.ts';
