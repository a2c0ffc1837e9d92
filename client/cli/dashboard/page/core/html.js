// What all views take from preact. Text is text: nothing here sets HTML from a string.
export { html, render, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext, createContext, useErrorBoundary } from "../vendor/preact-htm.js";
