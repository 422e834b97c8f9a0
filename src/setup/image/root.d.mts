export declare function imageRoot(flavours?: readonly string[]): { readonly path: string; readonly ready: boolean }
export declare function ensureImageRoot(options: {
  log: string, flavours?: readonly string[], signal?: AbortSignal, note?: (text: string) => void
}): Promise<string>
