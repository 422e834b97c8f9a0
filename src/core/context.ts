export type * from '../daemon/context.ts';
