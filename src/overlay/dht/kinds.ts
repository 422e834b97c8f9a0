/** Numbers of this part's messages on the wire (src/overlay/core/kinds.ts keeps the ranges: 64 to 79). Never given twice. */
export const kinds = { find: 64, found: 65, store: 66 } as const;
