export { Ads } from './ads.ts';
export { holds } from './directory.ts';
export { limits as adsLimits } from './limits.ts';
export type { Values } from './member.ts';
