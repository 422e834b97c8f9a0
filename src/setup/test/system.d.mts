export declare function systemTests(whole: boolean, files: readonly string[]): { readonly patterns: readonly string[]; readonly leftOut: string[] }
