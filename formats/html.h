/* Text of a target in HTML and XML: what looks like markup is none, what moves or hides text is
 * shown. Internal to formats/. Errors are those of the stream: ferror(3). */
#ifndef PYPROF_FORMATS_HTML_H
#define PYPROF_FORMATS_HTML_H

#include <stddef.h>
#include <stdio.h>

/* Fit for an element's content and for a quoted attribute. Controls, bidi controls and what is no
 * UTF-8 become \xNN or \uNNNN. */
void html_text(FILE *out, const char *text, size_t len);
/* The same of at most max bytes, with "..." where more follows; max 0 is no limit. */
void html_clipped(FILE *out, const char *text, size_t len, size_t max);
/* The same of its end, with "..." where more came before. */
void html_tail(FILE *out, const char *text, size_t len, size_t max);
/* Source code: tabs stay, and what had to be escaped is in <i>, so that it is not taken for what is
 * written there. Not for attributes. */
void html_code(FILE *out, const char *text, size_t len);

#endif
