"""Sentences about documents, search and tags."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.document_not_found": ("没有这个文档。", "There is no such document."),
    "error.page_not_found": ("没有这一页，或尚未读到这一页。", "There is no such page, or it has not been read yet."),
    "error.chunk_not_found": ("这一页上没有这个段落。", "There is no such passage on this page."),
    "error.document_busy": (
        "文档正在处理（{status}），请稍后再试。",
        "The document is being processed ({status}); please try again later.",
    ),
    "error.document_unreadable": ("无法读取文档：{why}", "The document cannot be read: {why}"),
    "document.no_text": (
        "文档是扫描件，没有文字；服务器未安装 Tesseract，无法识别。",
        "The document is a scan without text, and Tesseract is not installed on the server to recognise it.",
    ),
    "document.no_words": ("文档中没有可检索的文字。", "There are no words in the document that could be searched."),
    "document.too_many_unreadable": (
        "超过 {pages} 页无法读取，已停止：{why}",
        "More than {pages} pages could not be read, so it was stopped: {why}",
    ),
    "document.unreadable_pages": (
        "有 {pages} 页无法读取，其余页面没有文字。",
        "{pages} pages cannot be read, and the others have no words.",
    ),
    "document.broken_off": ("处理已中止，可以重新索引。", "The processing was broken off; the document can be read anew."),
    "document.pdf_unreadable": ("文件无法读取。", "The file cannot be read."),
    "document.not_pdf": ("文件不是 PDF。", "The file is not a PDF."),
    "document.pdf_empty": ("文件没有任何页面。", "The file has no pages."),
    "document.pdf_damaged": ("文件已损坏，无法打开：{reason}", "The file is damaged and cannot be opened: {reason}"),
    "document.pdf_encrypted": (
        "文件有密码保护，请去除密码后重新上传。",
        "The file is protected by a password; please remove it and upload the file again.",
    ),
    "document.pdf_too_long": ("文件有 {pages} 页，上限为 {most} 页。", "The file has {pages} pages; the limit is {most}."),
    "document.page_missing": ("文件没有第 {number} 页。", "The file has no page {number}."),
    "document.ocr_missing": ("服务器未安装所需的识别语言：{languages}。", "The server lacks the languages for recognition: {languages}."),
    "upload.no_form": ("请以 multipart/form-data 上传文件。", "Please upload files as multipart/form-data."),
    "upload.cut_short": ("上传的表单不完整。", "The form ended too early."),
    "upload.other_file": ("文件字段的名称应为 file。", "The field of a file must be called file."),
    "upload.twice": ("字段重复。", "The field was given twice."),
    "upload.empty": ("文件 {name} 是空的。", "The file {name} is empty."),
    "upload.not_pdf": ("文件 {name} 不是 PDF。", "The file {name} is not a PDF."),
    "knowledge.no_tag": ("词表中没有这些标签：{names}。", "The vocabulary has no such tags: {names}."),
    "error.tag_not_found": ("没有这个标签。", "There is no such tag."),
    "error.vectors_mismatch": ("向量维度与索引不符：{detail}", "The vectors do not fit the index: {detail}"),
    "error.collection_not_found": ("没有这个向量集合。", "There is no such collection of vectors."),
    "error.vectors_refused": ("向量库拒绝了请求：{detail}", "The vector engine refused the request: {detail}"),
}
