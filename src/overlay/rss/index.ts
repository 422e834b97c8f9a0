export { Learner } from './cuts.ts';
export { LinkTable } from './link-table.ts';
export type { SearchResult } from './look.ts';
export { limits as rssLimits } from './limits.ts';
export { Overlay } from './overlay.ts';
export { distance_ms, matcher, range, type Constraint, type Query } from './query.ts';
export { Search } from './search.ts';
export { Space, quantileCuts, type Cuts, type KeySpec } from './space.ts';
export { Vivaldi } from './vivaldi.ts';
