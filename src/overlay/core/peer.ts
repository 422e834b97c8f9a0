/**
 * A peer as a small number: the row of its descriptor in the Book. In xosd the Book holds what this one node knows; in the simulator it
 * holds all nodes, and a Peer means the same to every one of them.
 */
export type Peer = number;

/** No peer. */
export const nobody = 0xffff_ffff;
