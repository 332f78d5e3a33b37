"""Sentences about the assistant and its conversations."""

MESSAGES: dict[str, tuple[str, str]] = {
    "error.llm_broken": ("语言模型中断了回答，请稍后再试。", "The language model broke off; please try again shortly."),
    "error.conversation_not_found": ("没有这个对话。", "There is no such conversation."),
    "error.message_not_found": ("没有这条消息。", "There is no such message."),
    "error.conversation_busy": ("上一个问题还在回答中。", "The question before is still being answered."),
    "assistant.cut": ("语言模型中途中断，以上是已经收到的部分。", "The language model broke off; this is what had come of its answer."),
    "assistant.model_away": (
        "语言模型暂时不可用，以下是文档原文摘录。",
        "The language model is away; these are quotations from the documents.",
    ),
    "error.person_needed": ("只有人可以使用助手的对话。", "Conversations with the assistant belong to people."),
}
