/* Sources of pages, as they are in formats/web/: the Makefile puts each into an object. Internal to
 * formats/. */
#ifndef PYPROF_FORMATS_WEB_H
#define PYPROF_FORMATS_WEB_H

extern const char web_heatmap_css_start[], web_heatmap_css_end[];
extern const char web_heatmap_js_start[], web_heatmap_js_end[];
extern const char web_flame_html_start[], web_flame_html_end[];

#endif
