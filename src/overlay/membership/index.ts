export { descriptor_bytes, listCodec, put } from './codecs.ts';
export { limits as membershipLimits } from './limits.ts';
export type { Links } from './links.ts';
export { Membership } from './membership.ts';
export type { MembershipOptions } from './membership-options.ts';
