export declare function hashInputs(root: string, paths: readonly string[], extra?: readonly string[]): string
