/** Numbers of this part's messages on the wire (src/overlay/core/kinds.ts keeps the ranges: 80 to 95). Never given twice. */
export const kinds = { offer: 80, answer: 81 } as const;
