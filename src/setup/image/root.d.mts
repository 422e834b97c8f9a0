export declare function imageRoot(): { readonly path: string; readonly ready: boolean }
